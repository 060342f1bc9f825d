# One container for any language: the proxy by default; `docker run IMAGE collect ...` for any other command.
# Everything but the command line is the same as `pip install claude-sidecar[compression,otlp]`.
FROM python:3.13-slim AS build
WORKDIR /src
COPY . .
RUN pip wheel --no-cache-dir --wheel-dir /wheels '.[compression,otlp]'

FROM python:3.13-slim
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir --no-index --find-links /wheels 'claude-sidecar[compression,otlp]' \
 && rm -rf /wheels && useradd --system --uid 10001 --no-create-home sidecar
USER 10001
EXPOSE 8788 9464
ENTRYPOINT ["sidecar"]
# Inside a container every client is remote: publish these ports to whom you trust, not to the world.
CMD ["proxy", "--listen", "0.0.0.0:8788", "--admin", "0.0.0.0:9464", "--allow-remote"]
