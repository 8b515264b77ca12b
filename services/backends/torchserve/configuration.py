"""The settings of a TorchServe of the gateway's own: nobody else reaches it, and it loads exactly what it is given."""

from collections.abc import Sequence
from pathlib import Path

CONFIG = """\
inference_address=unix:{folder}/inference.sock
management_address=unix:{folder}/management.sock
grpc_inference_address=127.0.0.1
grpc_inference_port={inference_port}
grpc_management_address=127.0.0.1
grpc_management_port={management_port}
enable_metrics_api=false
disable_system_metrics=true
model_store={store}
load_models=all
allowed_urls=file://{store}/.*
enable_model_api=false
disable_token_authorization=true
install_py_dep_per_model=false
default_workers_per_model={workers}
max_request_size={message_bytes}
max_response_size={message_bytes}
"""

# At INFO the frontend logs every call several times, which costs more than the call. What workers print is kept, since
# it says why a model did not load, but for their line per call.
_LOGGING = """\
<Configuration status="error">
  <Appenders>
    <RollingFile name="log" fileName="{log}" filePattern="{log}.%i">
      <PatternLayout pattern="%d{{ISO8601}} %-5p %c{{1}} - %m%n"/>
      <SizeBasedTriggeringPolicy size="10 MB"/>
      <DefaultRolloverStrategy max="1"/>
    </RollingFile>
  </Appenders>
  <Loggers>
    <Logger name="MODEL_LOG" level="info">
      <RegexFilter regex="Backend received inference.*" onMatch="DENY" onMismatch="NEUTRAL"/>
    </Logger>
    <Root level="warn"><AppenderRef ref="log"/></Root>
  </Loggers>
</Configuration>
"""


def write_settings(
    folder: Path,
    archives: Sequence[Path],
    *,
    inference_port: int,
    management_port: int,
    workers: int,
    message_bytes: int,
) -> None:
    """Write config.properties and log4j2.xml, and make the store.

    Args:
        folder: Where they are written.
        archives: The `.mar` files to load.
        inference_port: Port of its gRPC inference API.
        management_port: Port of its gRPC management API.
        workers: Worker processes of a model whose archive does not say how many.
        message_bytes: The most bytes of a call or an answer.
    """
    store = folder / "store"
    # A store of its own, so that it can load exactly these archives, whatever their files are called.
    store.mkdir()
    for index, archive in enumerate(archives):
        (store / f"{index}.mar").symlink_to(archive.resolve())
    config = CONFIG.format(
        folder=folder,
        store=store,
        inference_port=inference_port,
        management_port=management_port,
        workers=workers,
        message_bytes=message_bytes,
    )
    (folder / "config.properties").write_text(config)
    (folder / "log4j2.xml").write_text(_LOGGING.format(log=folder / "torchserve.log"))
