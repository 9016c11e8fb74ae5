"""Apache Kafka as one KRaft node: the real broker, fetched from Maven.

Ready means that clients get what they ask for at once: metadata, and a group
coordinator for every group. A first consumer then never waits a second for it.
"""

import base64
import shutil
import signal
import struct
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

from slipway_local.cache import installed
from slipway_local.files import PRIVATE_FOLDER, write_atomically
from slipway_local.ports import LOOPBACK
from slipway_local.program import Program, connection
from slipway_local.settings import Settings
from slipway_local.tools import JAVA, MAVEN, Tool, require

RELEASE = "4.1.0"
ARTIFACTS = (
    ("org.apache.kafka", "kafka_2.13", RELEASE),
    ("org.apache.kafka", "kafka-tools", RELEASE),
    ("org.slf4j", "slf4j-simple", "1.7.36"),
)
POM_NAMESPACE = "http://maven.apache.org/POM/4.0.0"

FETCH_SECONDS = 900.0
FORMAT_SECONDS = 60.0
START_SECONDS = 90.0
STOP_SECONDS = 15.0

# A group belongs to the partition that its hash falls into, and the hash of a
# name of one character is that character's code: four names, four partitions.
COORDINATOR_PARTITIONS = 4
PROBED_GROUPS = ("a", "b", "c", "d")

# A broker that was killed is let in again only when the session of the one before
# has run out. In everyday use the long one keeps a busy machine from losing it.
SESSION_MILLISECONDS = 9_000
SESSION_AFTER_KILL_MILLISECONDS = 1_500

METADATA, FIND_COORDINATOR, OFFSET_FETCH = 3, 10, 9
CORRELATION = 7


class Kafka:
    """One broker that is its own controller. Topics are made by those who own them."""

    def __init__(
        self,
        folder: Path,
        *,
        port: int,
        controller_port: int,
        log: Path,
        record: Path,
        settings: Settings,
        advertised_host: str = LOOPBACK,
    ) -> None:
        """``advertised_host`` is where clients are sent; it listens on loopback all the same."""
        self._folder = folder
        self._port = port
        self._advertised_host = advertised_host
        self._controller_port = controller_port
        self._settings = settings
        self._program = Program(self.name, log=log, record=record)

    @property
    def name(self) -> str:
        return "kafka"

    @property
    def bootstrap(self) -> str:
        return f"{LOOPBACK}:{self._port}"

    @property
    def address(self) -> str:
        return self.bootstrap

    @property
    def shown_address(self) -> str:
        return self.bootstrap

    @property
    def pid(self) -> int | None:
        return self._program.pid

    @property
    def log(self) -> Path:
        return self._program.log

    async def prepare(self, note: Callable[[str], None]) -> None:
        libraries = await self._libraries(note)
        if not (self._folder / "data").is_dir():
            note("formatting a new log folder")
            await self._format(libraries)

    async def start(self) -> None:
        if self.pid is not None:
            return
        await self.prepare(lambda _: None)
        libraries = await self._libraries(lambda _: None)
        properties = self._folder / "server.properties"
        write_atomically(properties, self._properties(self._folder / "data"))
        await self._program.start(
            [*self._java(libraries, memory="512m"), "kafka.Kafka", str(properties)],
            environment=self._settings.inherited,
            ports=[self._port, self._controller_port],
            ready=self._answers,
            seconds=START_SECONDS,
            folder=self._folder,
        )

    async def stop(self) -> None:
        await self._program.stop(signal_number=signal.SIGTERM, grace=STOP_SECONDS)

    async def kill(self) -> None:
        await self._program.kill(with_descendants=True)

    def _java(self, libraries: Path, *, memory: str) -> list[str]:
        return [
            str(require(JAVA, self._settings)),
            f"-Xmx{memory}",
            "-XX:+ExitOnOutOfMemoryError",
            "-Djava.awt.headless=true",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ",
            "-cp",
            str(libraries / "*"),
        ]

    async def _libraries(self, note: Callable[[str], None]) -> Path:
        async def fetch(target: Path) -> None:
            maven = require(MAVEN, self._settings)
            note(f"fetching Kafka {RELEASE} with Maven")
            (target / "pom.xml").write_bytes(pom())
            await self._program.run_once(
                [
                    *(str(maven), "-q", "-B", "dependency:copy-dependencies"),
                    f"-DoutputDirectory={target / 'lib'}",
                ],
                environment=self._settings.full,
                seconds=FETCH_SECONDS,
                folder=target,
            )

        return await installed(self._settings.cache_folder, cache_name(), fetch) / "lib"

    async def _format(self, libraries: Path) -> None:
        """Format beside the place and move it there, so that a crash leaves nothing half done."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
        for abandoned in self._folder.glob("new-*"):
            shutil.rmtree(abandoned)
        work = Path(tempfile.mkdtemp(dir=self._folder, prefix="new-"))
        properties = work / "server.properties"
        write_atomically(properties, self._properties(work / "data"))
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        await self._program.run_once(
            [
                *self._java(libraries, memory="256m"),
                # "=": an identifier may begin with a dash.
                *("kafka.tools.StorageTool", "format", f"--cluster-id={cluster}"),
                f"--config={properties}",
            ],
            environment=self._settings.inherited,
            seconds=FORMAT_SECONDS,
            folder=work,
        )
        (work / "data").rename(self._folder / "data")
        shutil.rmtree(work)

    def _properties(self, data: Path) -> str:
        used = (data / "__cluster_metadata-0").is_dir()
        was_killed = used and not (data / ".kafka_cleanshutdown").exists()
        session = SESSION_AFTER_KILL_MILLISECONDS if was_killed else SESSION_MILLISECONDS
        settings = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{LOOPBACK}:{self._controller_port}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"CLIENT://{self.bootstrap},"
            f"CONTROLLER://{LOOPBACK}:{self._controller_port}",
            "advertised.listeners": f"CLIENT://{self._advertised_host}:{self._port}",
            "inter.broker.listener.name": "CLIENT",
            "listener.security.protocol.map": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "broker.session.timeout.ms": session,
            "broker.heartbeat.interval.ms": session // 5,
            "log.dirs": data,
            "log.retention.hours": 168,
            "log.segment.bytes": 64 * 1024 * 1024,
            "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
            "auto.create.topics.enable": "false",
            "num.partitions": 4,
            "default.replication.factor": 1,
            "min.insync.replicas": 1,
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": COORDINATOR_PARTITIONS,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": COORDINATOR_PARTITIONS,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "share.coordinator.state.topic.num.partitions": COORDINATOR_PARTITIONS,
            "group.initial.rebalance.delay.ms": 0,
        }
        return "".join(f"{name}={value}\n" for name, value in settings.items())

    async def _answers(self) -> bool:
        await self._ask(METADATA, 1, struct.pack(">i", 0))
        for group in PROBED_GROUPS:
            name = struct.pack(">h", len(group)) + group.encode()
            found = await self._ask(FIND_COORDINATOR, 0, name)
            if _number_at(found, 0) != 0:
                return False
            # -1 asks for the offsets of all topics: a group nobody knows has none,
            # and what is left of the answer is the coordinator's own verdict.
            offsets = await self._ask(OFFSET_FETCH, 2, name + struct.pack(">i", -1))
            if _number_at(offsets, len(offsets) - 2) != 0:
                return False
        return True

    async def _ask(self, interface: int, version: int, body: bytes) -> bytes:
        message = struct.pack(">hhih", interface, version, CORRELATION, -1) + body
        request = struct.pack(">i", len(message)) + message
        async with connection(self._port) as (reader, writer):
            writer.write(request)
            (length,) = struct.unpack(">i", await reader.readexactly(4))
            answer = await reader.readexactly(length)
        return answer[4:]  # behind the correlation number


def needed_tools(settings: Settings) -> list[Tool]:
    """Maven is only needed until Kafka lies in the cache."""
    return [JAVA] if (settings.cache_folder / cache_name()).is_dir() else [JAVA, MAVEN]


def cache_name() -> str:
    return f"kafka-{RELEASE}"


def pom() -> bytes:
    """The project file from which Maven learns what to fetch."""
    project = ET.Element("project", xmlns=POM_NAMESPACE)
    own = {"modelVersion": "4.0.0", "groupId": "slipway", "artifactId": "kafka", "version": RELEASE}
    for name, value in own.items():
        ET.SubElement(project, name).text = value
    dependencies = ET.SubElement(project, "dependencies")
    for group, artifact, release in ARTIFACTS:
        dependency = ET.SubElement(dependencies, "dependency")
        ET.SubElement(dependency, "groupId").text = group
        ET.SubElement(dependency, "artifactId").text = artifact
        ET.SubElement(dependency, "version").text = release
    return bytes(ET.tostring(project, encoding="utf-8", xml_declaration=True))


def _number_at(answer: bytes, position: int) -> int:
    (number,) = struct.unpack_from(">h", answer, position)
    return int(number)
