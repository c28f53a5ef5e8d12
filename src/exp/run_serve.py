"""Serves a model over HTTP: recommendations by the log's own ids."""

from .program.run import Run, command


def job(run: Run) -> None:
    from ..serve.http.server import serve_http

    serve_http(run.settings.serve, run.settings.server, run.settings.paths.served_dir)


main = command(job, __spec__.name, __doc__)

if __name__ == "__main__":
    main()
