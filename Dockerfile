# Mimir over HTTP in a container, as a user without rights; the store is in the volume /data.
#
#     docker build --tag mimir .
#     docker run --rm --interactive --volume mimir:/data mimir serve --db /data/mimir.db     stdio, for one client
#     docker compose up                                                                       HTTP, see compose.yaml
FROM python:3.13-slim-bookworm AS build
WORKDIR /source
COPY requirements/server.txt requirements/
RUN python -m venv /opt/mimir \
    && /opt/mimir/bin/pip install --no-cache-dir --require-hashes --only-binary=:all: --requirement requirements/server.txt
COPY pyproject.toml README.md LICENSE mimir_autogen.py mimir_crewai.py mimir_langgraph.py ./
COPY mimir mimir
RUN /opt/mimir/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.13-slim-bookworm
LABEL org.opencontainers.image.title="Mimir" \
      org.opencontainers.image.licenses="MIT AND Apache-2.0" \
      io.modelcontextprotocol.server.name="io.github.mimir-local/mimir"
RUN useradd --system --uid 10001 --create-home --home-dir /home/mimir mimir \
    && install --directory --owner=mimir --group=mimir --mode=0700 /data
COPY --from=build /opt/mimir /opt/mimir
ENV PATH=/opt/mimir/bin:$PATH
USER 10001
VOLUME /data
EXPOSE 8767
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8767/healthz', timeout=4)"]
ENTRYPOINT ["mimir"]
# Beyond this machine only with a token: MIMIR_MCP_TOKEN, or it does not start.
CMD ["serve", "--db", "/data/mimir.db", "--transport", "http", "--web-bind", "0.0.0.0"]
