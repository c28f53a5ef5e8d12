"""The page at `GET /`: a few static files, answered as they are."""

from importlib.resources import files

from fastapi import FastAPI, Response

FILES = {  # by address
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def add_page(app: FastAPI) -> None:
    """Lets an application answer with the page and its files, which are read once."""
    folder = files(__package__) / "page"
    for address, (name, media_type) in FILES.items():
        _add(app, address, (folder / name).read_bytes(), media_type)


def _add(app: FastAPI, address: str, content: bytes, media_type: str) -> None:
    @app.api_route(address, methods=["GET", "HEAD"], include_in_schema=False)
    async def file() -> Response:
        return Response(content, media_type=media_type, headers=HEADERS)
