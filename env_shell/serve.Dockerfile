# The HTTP service alone: no PyTorch, no data. Served models are mounted at /models, events are kept in /events.
#   docker build -f env_shell/serve.Dockerfile -t anyo-serve .        or: docker compose up
#
# Where packages come from another index, or through a proxy with certificates of its own:
#   docker build … --build-arg PIP_INDEX_URL=<its address> --secret id=certificates,src=/etc/ssl/certs/ca-certificates.crt
ARG BASE=python:3.13-slim

FROM ${BASE} AS packages
ARG PIP_INDEX_URL
WORKDIR /build
COPY pyproject.toml poetry.lock ./
RUN --mount=type=secret,id=certificates \
    if [ -s /run/secrets/certificates ]; then \
        export PIP_CERT=/run/secrets/certificates SSL_CERT_FILE=/run/secrets/certificates \
            REQUESTS_CA_BUNDLE=/run/secrets/certificates; \
    fi \
    && if [ -z "$PIP_INDEX_URL" ]; then unset PIP_INDEX_URL; fi \
    && python3 -m venv /poetry \
    && /poetry/bin/pip install --quiet --disable-pip-version-check "poetry>=2.1,<3" poetry-plugin-pypi-mirror \
    && python3 -m venv --without-pip /venv \
    && POETRY_REQUESTS_TIMEOUT=120 POETRY_PYPI_MIRROR_URL=$(/poetry/bin/python -c 'from pip._internal.commands import \
create_command; print(create_command("install").parser.get_default_values().index_url)') \
    && export POETRY_REQUESTS_TIMEOUT POETRY_PYPI_MIRROR_URL \
    && VIRTUAL_ENV=/venv PATH="/venv/bin:$PATH" /poetry/bin/poetry install --only serve --no-root --no-interaction

FROM ${BASE}
RUN useradd --uid 10001 --create-home anyo && mkdir /models /events && chown anyo /events
COPY --from=packages /venv /venv
COPY src /app/src
COPY conf /app/conf
ENV PATH="/venv/bin:$PATH" PYTHONUNBUFFERED=1
WORKDIR /app
USER anyo
EXPOSE 8000
HEALTHCHECK --start-period=30s --interval=10s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/ready')"]
ENTRYPOINT ["python", "-m", "src.exp.run_serve", "server.host=0.0.0.0", "paths.served_dir=/models", "hydra.run.dir=/tmp/run"]
CMD ["server.events=sqlite:////events/events.db"]
