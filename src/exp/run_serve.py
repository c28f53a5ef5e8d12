"""Serves a model over HTTP: recommendations by the log's own ids."""

from .program.run import Run, command


def job(run: Run) -> None:
    import os

    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)  # another program's; prometheus_client looks when it is imported
    from ..serve.http.server import serve_http

    settings = run.settings
    serve_http(settings.serve, settings.server, settings.paths.served_dir, settings.dataset.name)


main = command(job, __spec__.name, __doc__)

if __name__ == "__main__":
    main()
