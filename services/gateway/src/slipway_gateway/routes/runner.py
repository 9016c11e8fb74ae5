"""The runner API: what session pods call home to."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Body, Depends, Header, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from slipway_common.contracts.internal import Instruction, RunnerGrant, RunnerMemberGrant
from slipway_common.contracts.views import Progress
from slipway_gateway.routes.dependencies import MAX_JSON_BYTES
from slipway_gateway.runners import MAX_WAIT_SECONDS, Member, RunnerService


class StatedProblem(BaseModel):
    """Why a task failed, as its engine or its runner says it."""

    model_config = ConfigDict(extra="allow")

    type: Annotated[str, Field(max_length=200)]
    title: Annotated[str, Field(max_length=200)]
    detail: Annotated[str | None, Field(max_length=8192)] = None


def build(runners: RunnerService) -> APIRouter:
    router = APIRouter(prefix="/runner/v1", tags=["runner"])

    def session(request: Request) -> UUID:
        return runners.session_of(request)

    def member(request: Request) -> Member:
        return runners.member_of(request)

    Session = Annotated[UUID, Depends(session)]  # noqa: N806  # it is a type
    Waiting = Annotated[Member, Depends(member)]  # noqa: N806  # it is a type

    @router.post("/claim", max_body_size=MAX_JSON_BYTES)
    async def claim(
        session_id: Session, claim_id: Annotated[UUID, Body(embed=True)], response: Response
    ) -> RunnerGrant:
        response.headers["Cache-Control"] = "no-store"
        return await runners.claim(session_id, claim_id)

    @router.get("/packages/{which}", response_class=StreamingResponse)
    async def package(
        which: Literal["app", "runtime"],
        session_id: Session,
        slipway_claim: Annotated[UUID, Header()],
    ) -> StreamingResponse:
        content = await runners.package(session_id, slipway_claim, which)
        return StreamingResponse(content, media_type="application/octet-stream")

    @router.post("/member/claim", max_body_size=MAX_JSON_BYTES)
    async def claim_as_member(waiting: Waiting, response: Response) -> RunnerMemberGrant:
        response.headers["Cache-Control"] = "no-store"
        return await runners.claim_as_member(waiting)

    @router.get("/member/runtime", response_class=StreamingResponse)
    async def member_runtime(waiting: Waiting) -> StreamingResponse:
        content = await runners.member_runtime(waiting)
        return StreamingResponse(content, media_type="application/octet-stream")

    @router.post("/say", status_code=204, max_body_size=MAX_JSON_BYTES)
    async def say(session_id: Session, message: Annotated[str, Body(embed=True)]) -> None:
        await runners.say(session_id, message)

    @router.put("/log", status_code=204)
    async def store_log(session_id: Session, request: Request) -> None:
        await runners.store_log(session_id, request)

    @router.post("/tasks/next")
    async def next_task(
        session_id: Session, wait: Annotated[float, Query(ge=0, le=MAX_WAIT_SECONDS)] = 0
    ) -> Response:
        assignment = await runners.next_task(session_id, wait=wait)
        if assignment is None:
            return Response(status_code=204)
        return Response(assignment.model_dump_json(), media_type="application/json")

    @router.get("/tasks/{task_id}/request", response_class=StreamingResponse)
    async def task_request(task_id: UUID, session_id: Session) -> StreamingResponse:
        content = await runners.task_request(session_id, task_id)
        return StreamingResponse(content, media_type="application/json")

    @router.post("/tasks/{task_id}/progress", max_body_size=MAX_JSON_BYTES)
    async def progress(
        task_id: UUID, session_id: Session, body: Annotated[Progress | None, Body()] = None
    ) -> Instruction:
        return await runners.progress(session_id, task_id, body)

    @router.put("/tasks/{task_id}/response", status_code=204)
    async def complete(
        task_id: UUID,
        session_id: Session,
        request: Request,
        outcome: Literal["completed", "interrupted"] = "completed",
    ) -> None:
        await runners.complete(session_id, task_id, request, outcome=outcome)

    @router.post("/tasks/{task_id}/failure", status_code=204, max_body_size=MAX_JSON_BYTES)
    async def fail(task_id: UUID, session_id: Session, body: StatedProblem) -> None:
        await runners.fail(session_id, task_id, body.model_dump(exclude_none=True))

    return router
