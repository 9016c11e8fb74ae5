"""The least that a request can cost here: FastAPI, one SELECT by key over asyncpg, no more."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import uvicorn
from fastapi import FastAPI, Request


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.pool = await asyncpg.create_pool(os.environ["FLOOR_DSN"], min_size=4, max_size=16)
    yield
    await app.state.pool.close()


app = FastAPI(lifespan=lifespan)


@app.get("/read")
async def read(request: Request) -> dict[str, Any]:
    row = await request.app.state.pool.fetchrow("SELECT id, name, created_at FROM accounts LIMIT 1")
    return dict(row)


@app.post("/write")
async def write(request: Request) -> dict[str, int]:
    number = await request.app.state.pool.fetchval(
        "INSERT INTO bench_floor (payload) VALUES ($1) RETURNING id", "x" * 200
    )
    return {"id": number}


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["FLOOR_PORT"]), log_level="warning")
