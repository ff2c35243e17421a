"""The WebSocket: gaze and prompts in, masks, frames and embeddings out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from sam_edge.errors import InputError
from sam_edge.service.asking import prompts
from sam_edge.service.asking.prompts import Asked, Id, Request, known, number, parse_id, whole
from sam_edge.service.context import CONTEXT, Context, said
from sam_edge.service.limits import Bucket
from sam_edge.service.live.hub import Viewer
from sam_edge.service.live.outbox import FullError, Outbox, Wants
from sam_edge.service.live.wire import binary, text

HEARTBEAT_S = 20.0
MAX_FPS = 60.0
NOT_NOW = {"code": "unavailable", "what": "there are too many clients", "hint": "come back later"}
Fields = Mapping[str, Any]


async def stream_socket(request: web.Request) -> web.StreamResponse:
    """`WS /v1/stream`."""
    context = request.app[CONTEXT]
    if context.clients >= context.config.max_clients:
        return web.json_response({"error": NOT_NOW}, status=503)
    # Compression would let a small message become a large one.
    socket = web.WebSocketResponse(
        max_msg_size=context.config.max_message_bytes, compress=False, heartbeat=HEARTBEAT_S, timeout=2.0
    )
    context.clients += 1
    try:
        await socket.prepare(request)
        client = Client(context)
        await client.serve(socket, request)
    finally:
        context.clients -= 1
    return socket


class Client:
    """One WebSocket, from its first message to its last."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._outbox = Outbox()
        self._viewer = Viewer(self._outbox)
        self._bucket = Bucket(context.config.max_messages_per_s)
        self._tasks: set[asyncio.Task[None]] = set()
        self._was_told = False
        self._takes: Mapping[str, Callable[[Fields], None]] = {
            "subscribe": self._subscribe,
            "gaze": self._gaze,
            "prompt": self._prompt,
            "freeze": self._freeze,
            "follow": self._follow,
            "unfollow": self._follow,
            "ping": self._ping,
        }

    async def serve(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        """Take messages until the client leaves, or takes no answers any more."""
        self._outbox.reply(text("hello", **self._context.info()))
        sender = asyncio.create_task(self._send(socket))
        try:
            with self._context.hub.joined(self._viewer):
                async for message in socket:
                    while not self._bucket.take():
                        # What is not read waits with the client: one that floods slows down itself.
                        await asyncio.sleep(1 / self._context.config.max_messages_per_s)
                    self._take(message.data if message.type is WSMsgType.TEXT else None)
        except FullError:
            self._context.outcomes["unread"] += 1
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._outbox.close()
            for task in (*self._tasks, sender):
                task.cancel()
            # Before anything is waited for: a lost connection cancels the waiting.
            if self._context.pointer is self:
                self._context.pointer = None
            await asyncio.gather(*self._tasks, sender, return_exceptions=True)
            with suppress(ConnectionError):
                await socket.close(code=WSCloseCode.GOING_AWAY)

    async def _send(self, socket: web.WebSocketResponse) -> None:
        # What a client does not take waits here, and the outbox keeps the newest.
        with suppress(ConnectionError):
            while (message := await self._outbox.take()) is not None:
                if isinstance(message, str):
                    await socket.send_str(message)
                else:
                    await socket.send_bytes(message)
            await socket.close(code=WSCloseCode.GOING_AWAY)

    def _take(self, data: str | None) -> None:
        name: Id = None
        try:
            if data is None:
                raise InputError("a binary message came", hint="send JSON as text")
            fields = prompts.parse_json(data)
            name = parse_id(fields.get("id"))
            kind = fields.get("type")
            take = self._takes.get(kind) if isinstance(kind, str) else None
            if take is None:
                raise InputError("there is no such type", hint=f"choose from {', '.join(self._takes)}")
            if fields.get("v", 1) != 1:
                raise InputError("the version is not 1")
            take({key: value for key, value in fields.items() if key != "v"})
        except InputError as error:
            self._fail(name, error)

    def _subscribe(self, fields: Fields) -> None:
        known(fields, "type", "id", "results", "masks", "candidates", "frames", "embeddings")
        masks, embeddings = fields.get("masks", "rle"), fields.get("embeddings")
        if masks not in ("rle", "png", "bits", "none"):
            raise InputError("masks is unknown", hint="choose from rle, png, bits, none")
        if embeddings not in (None, "float16", "float32"):
            raise InputError("embeddings is unknown", hint="choose from float16, float32, null")
        results, candidates = fields.get("results", True), fields.get("candidates", False)
        if not isinstance(results, bool) or not isinstance(candidates, bool):
            raise InputError("results and candidates are true or false")
        frames = number(fields, "frames", 0.0)
        if not 0 <= frames <= MAX_FPS:
            raise InputError(f"frames is not 0 to {MAX_FPS:g} a second")
        self._viewer.wants = Wants(results, masks, candidates, frames, embeddings)
        self._viewer.embedding = None
        self._outbox.reply(text("done", id=fields.get("id"), of="subscribe"))

    def _gaze(self, fields: Fields) -> None:
        known(fields, "type", "id", "x_px", "y_px", "x_norm", "y_norm", "confidence", "t_ns")
        stream = self._context.stream
        wh = stream.scene.frame_wh or (1, 1)
        if "x_norm" in fields or "y_norm" in fields:
            x_px, y_px = number(fields, "x_norm") * wh[0], number(fields, "y_norm") * wh[1]
        else:
            x_px, y_px = number(fields, "x_px"), number(fields, "y_px")
        confidence, t_ns = number(fields, "confidence", 1.0), whole(fields, "t_ns")
        if not 0 <= confidence <= 1:
            raise InputError("confidence is not 0 to 1")
        if max(abs(x_px), abs(y_px)) > 100 * max(wh):
            raise InputError("the gaze is far from the frame")
        if not self._context.may_point(self):
            if not self._was_told:
                self._was_told = True
                what = "another client is the gaze" if self._context.takes_gaze else "a tracker is the gaze"
                self._outbox.reply(text("error", id=fields.get("id"), **said("gaze_taken", what)))
            return
        self._was_told = False
        stream.push_gaze(x_px, y_px, t_ns, confidence=confidence)

    def _prompt(self, fields: Fields) -> None:
        known(fields, "type", "id", "points", "box", "multimask", "embedding", "t_ns")
        name, prompt = parse_id(fields.get("id")), prompts.parse_prompt(fields)
        multimask, seen_ns = prompts.parse_multimask(fields), whole(fields, "t_ns")
        wanted, engine, stream = fields.get("embedding"), self._context.engine, self._context.stream
        if wanted is not None and not isinstance(wanted, str):
            raise InputError("embedding is not a name")

        def work() -> dict[str, Any]:
            if wanted is None:
                return engine.ask(stream.scene, prompt, multimask, seen_ns) | {"embedding": None}
            kept = engine.store.get(wanted)
            if kept is None:
                raise InputError("there is no such embedding", hint="it has expired: freeze again")
            found = engine.masks(kept.embedding, Request((Asked(name, prompt),), multimask))
            (answer,) = found.pop("answers")
            state = {"capture_ns": kept.embedding.capture_ns, "embedding_age_ms": None, "freshness": "fresh"}
            return found | state | {"masks": answer["masks"], "embedding": wanted}

        self._begin(name, work, lambda found: self._outbox.reply(text("answer", id=name, **found)))

    def _freeze(self, fields: Fields) -> None:
        known(fields, "type", "id")
        name, context = parse_id(fields.get("id")), self._context

        def answer(found: tuple[dict[str, Any], bytes]) -> None:
            fields, jpeg = found
            embedding = fields.pop("id")
            expires_s = context.config.embedding_expires_s
            self._outbox.reply(text("frozen", id=name, embedding=embedding, expires_s=expires_s, **fields))
            wh = fields["frame_wh"]
            self._outbox.reply(
                binary("frame", jpeg, capture_ns=fields["capture_ns"], wh=wh, frame_wh=wh, embedding=embedding)
            )

        self._begin(name, lambda: context.engine.freeze(context.stream.scene), answer)

    def _follow(self, fields: Fields) -> None:
        known(fields, "type", "id", "object_id")
        object_id = whole(fields, "object_id")
        if object_id is None or abs(object_id) >= prompts.MAX_WHOLE:
            raise InputError("object_id is not a whole number")
        if fields["type"] == "follow":
            self._context.stream.follow(object_id)
        else:
            self._context.stream.unfollow(object_id)
        self._outbox.reply(text("done", id=fields.get("id"), of=fields["type"]))

    def _ping(self, fields: Fields) -> None:
        known(fields, "type", "id")
        self._outbox.reply(text("pong", id=fields.get("id"), t_ns=self._context.now_ns()))

    def _begin(self, name: Id, work: Callable[[], Any], answer: Callable[[Any], None]) -> None:
        """Let the engine work, and answer when it is done."""
        if len(self._tasks) >= self._context.config.max_waiting_of_client:
            self._context.outcomes["busy"] += 1
            self._outbox.reply(
                text("error", id=name, **said("busy", "too many of your prompts wait", "wait for answers"))
            )
            return

        async def run() -> None:
            try:
                answer(await self._context.worker.run(work))
                self._context.outcomes["ok"] += 1
            except FullError:
                self._outbox.close()
            except Exception as error:
                with suppress(FullError):
                    self._fail(name, error)

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _fail(self, name: Id, error: Exception) -> None:
        _, words = self._context.failure(error)
        self._context.outcomes[words["code"]] += 1
        self._outbox.reply(text("error", id=name, **words))
