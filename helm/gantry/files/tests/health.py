"""What `helm test` runs first: asks the gateway's health service, and fails unless it is serving."""

import os

from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.client import Credentials
from services.client.connection import connect

with connect(os.environ["GANTRY_ADDRESS"], Credentials.from_environment()) as channel:
    answer = health_pb2_grpc.HealthStub(channel).Check(
        health_pb2.HealthCheckRequest(), timeout=30.0, wait_for_ready=True
    )
status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
print("health:", status)
if answer.status != health_pb2.HealthCheckResponse.SERVING:
    raise SystemExit(f"the gateway is not serving, but {status}")
