"""The peer: a scheduler as people write it with bare kubernetes-asyncio. Create, watch, poll.

It has the same work as ours: it reads the same wanted sessions, makes for each a secret and a pod
of the same shape, tells Kafka when the pod runs, and removes both when the session is over. Typed
objects and the library's own typed ``Watch``; nothing is repeated, adopted, limited or recovered.

Meant fairly: it runs on uvloop, its polls look into what the watch has brought instead of asking
the server, and it has one client with as many connections as the library gives.

``python -m bench.cluster.baseline``, with KAFKA, KUBECONFIG and NAMESPACE in the environment.
"""

import asyncio
import os
import signal
from collections.abc import Coroutine
from typing import Any
from uuid import UUID

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from kubernetes_asyncio import client, config, watch

from slipway_common.contracts.cloudevents import body_of, headers_of
from slipway_common.contracts.registry import SESSIONS, SESSIONS_WANTED
from slipway_common.contracts.sessions import EndReason, SessionEnded, SessionRunning, SessionWanted

POLL_SECONDS = 0.1
LABEL = "bench.slipway.dev/session"


class Baseline:
    def __init__(self, api: client.CoreV1Api, producer: AIOKafkaProducer, namespace: str) -> None:
        self._api = api
        self._producer = producer
        self._namespace = namespace
        self._pods: dict[str, client.V1Pod] = {}
        self._wanted: dict[UUID, SessionWanted] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def watch(self) -> None:
        while True:
            async with watch.Watch() as stream:
                async for event in stream.stream(
                    self._api.list_namespaced_pod, self._namespace, label_selector=LABEL
                ):
                    pod = event["object"]
                    if event["type"] == "DELETED":
                        self._pods.pop(pod.metadata.name, None)
                    else:
                        self._pods[pod.metadata.name] = pod

    def on_record(self, key: str, value: bytes | None) -> None:
        session_id = UUID(key)
        if value is None:
            wanted = self._wanted.pop(session_id, None)
            if wanted is not None:
                self._begin(self._end(wanted))
            return
        wanted = SessionWanted.model_validate_json(value)
        self._wanted[session_id] = wanted
        self._begin(self._spawn(wanted))

    def _begin(self, doing: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _spawn(self, wanted: SessionWanted) -> None:
        name = f"session-{wanted.session_id}"
        await self._api.create_namespaced_secret(self._namespace, _secret(name))
        made = await self._api.create_namespaced_pod(self._namespace, _pod(name, wanted))
        while True:
            pod = self._pods.get(name)
            if pod is not None and pod.status.phase == "Running" and pod.status.pod_ip:
                break
            await asyncio.sleep(POLL_SECONDS)
        await self._publish(
            SessionRunning(
                account_id=wanted.account_id,
                session_id=wanted.session_id,
                address=f"{pod.status.pod_ip}:8080",
                unit=made.metadata.uid,
            )
        )

    async def _end(self, wanted: SessionWanted) -> None:
        name = f"session-{wanted.session_id}"
        await self._api.delete_namespaced_pod(name, self._namespace)
        await self._api.delete_namespaced_secret(name, self._namespace)
        while name in self._pods:
            await asyncio.sleep(POLL_SECONDS)
        await self._publish(
            SessionEnded(
                account_id=wanted.account_id,
                session_id=wanted.session_id,
                reason=EndReason.STOPPED,
            )
        )

    async def _publish(self, event: SessionRunning | SessionEnded) -> None:
        await self._producer.send_and_wait(
            SESSIONS.name, value=body_of(event), key=event.key, headers=headers_of(event)
        )


def _secret(name: str) -> client.V1Secret:
    return client.V1Secret(
        metadata=client.V1ObjectMeta(name=name, labels={LABEL: name.removeprefix("session-")}),
        string_data={"token": "x" * 400},
    )


def _pod(name: str, wanted: SessionWanted) -> client.V1Pod:
    resources = {
        "cpu": f"{wanted.resources.cpu_millis}m",
        "memory": f"{wanted.resources.memory_mib}Mi",
        "ephemeral-storage": f"{wanted.resources.disk_mib}Mi",
    }
    environment = {
        "SESSION_ID": str(wanted.session_id),
        "IDLE_SECONDS": str(wanted.idle_seconds),
        "GATEWAY_URL": "http://127.0.0.1:1",
        "TOKEN_FILE": "/var/run/slipway/token",
        "FOLDER": "/work",
        "TERMINATION_FILE": "/dev/termination-log",
        "LISTEN_HOST": "0.0.0.0",  # noqa: S104
        "LISTEN_PORT": "8080",
    }
    container = client.V1Container(
        name="runner",
        image="slipway-runner:dev",
        image_pull_policy="IfNotPresent",
        env=[client.V1EnvVar(name=key, value=value) for key, value in environment.items()],
        ports=[client.V1ContainerPort(name="http", container_port=8080)],
        resources=client.V1ResourceRequirements(requests=resources, limits=resources),
        security_context=client.V1SecurityContext(
            allow_privilege_escalation=False,
            read_only_root_filesystem=True,
            capabilities=client.V1Capabilities(drop=["ALL"]),
        ),
        startup_probe=client.V1Probe(
            http_get=client.V1HTTPGetAction(path="/ready", port=8080), period_seconds=1
        ),
        volume_mounts=[
            client.V1VolumeMount(name="work", mount_path="/work"),
            client.V1VolumeMount(name="secrets", mount_path="/var/run/slipway", read_only=True),
        ],
    )
    return client.V1Pod(
        metadata=client.V1ObjectMeta(name=name, labels={LABEL: str(wanted.session_id)}),
        spec=client.V1PodSpec(
            restart_policy="Never",
            automount_service_account_token=False,
            enable_service_links=False,
            priority_class_name="slipway-session",
            termination_grace_period_seconds=10,
            security_context=client.V1PodSecurityContext(
                run_as_non_root=True,
                run_as_user=10001,
                fs_group=10001,
                seccomp_profile=client.V1SeccompProfile(type="RuntimeDefault"),
            ),
            containers=[container],
            volumes=[
                client.V1Volume(
                    name="work",
                    empty_dir=client.V1EmptyDirVolumeSource(
                        size_limit=f"{wanted.resources.disk_mib}Mi"
                    ),
                ),
                client.V1Volume(
                    name="secrets", secret=client.V1SecretVolumeSource(secret_name=name)
                ),
            ],
        ),
    )


async def main() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await config.load_kube_config(os.environ["KUBECONFIG"])
    consumer = AIOKafkaConsumer(bootstrap_servers=os.environ["KAFKA"], enable_auto_commit=False)
    producer = AIOKafkaProducer(
        bootstrap_servers=os.environ["KAFKA"], acks="all", enable_idempotence=True
    )
    await consumer.start()
    await producer.start()
    places = [TopicPartition(SESSIONS_WANTED.name, n) for n in range(SESSIONS_WANTED.partitions)]
    consumer.assign(places)
    await consumer.seek_to_end(*places)
    async with client.ApiClient() as connection:
        baseline = Baseline(client.CoreV1Api(connection), producer, os.environ["NAMESPACE"])

        async def follow() -> None:
            async for record in consumer:
                baseline.on_record(record.key.decode(), record.value)

        tasks = [asyncio.create_task(baseline.watch()), asyncio.create_task(follow())]
        print("ready", flush=True)
        await stop.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await producer.stop()
    await consumer.stop()


if __name__ == "__main__":
    uvloop.run(main())
