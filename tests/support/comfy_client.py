"""Talk to a running ComfyUI: submit API-format workflows, follow them, collect what they made."""

from __future__ import annotations

import io
import json
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

import websocket
from PIL import Image

Workflow = dict[str, dict]  # node id -> {"class_type": ..., "inputs": {...}}
# Seconds that an answer may take, by which a server is told from one that hangs: on a busy machine it may be long.
PREVIEW = (1).to_bytes(4, "big")  # how a binary message with a preview begins
PATIENCE = 300
ProgressCallback = Callable[[str, float, float], None]  # node id, value, maximum


@dataclass(frozen=True)
class NodeError:
    """What one node complained about. `input` is empty unless the complaint was about one input."""

    node_id: str
    node_type: str
    message: str
    input: str = ""

    def __str__(self):
        where = f", input {self.input}" if self.input else ""
        return f"node {self.node_id} ({self.node_type}{where}): {self.message}"


class WorkflowError(Exception):
    """ComfyUI refused the workflow, or a node failed. `errors` names the nodes; it is empty if none is to blame."""

    def __init__(self, summary: str, errors: list[NodeError] = (), traceback: str = ""):
        self.errors = list(errors)
        super().__init__("\n".join([summary, *(f"  {error}" for error in self.errors), traceback]).rstrip())


class Interrupted(Exception):  # noqa: N818 - it is no error
    """The run was stopped, by `interrupt` or by someone else."""


@dataclass
class Result:
    """What a run left behind.

    outputs:  node id -> what the node reported, e.g. {"images": [{"filename": ..., ...}]}
    images:   node id -> its pictures, in order
    messages: (type, data) of every message about this run, in order
    previews: the preview pictures that the samplers sent, in order
    """

    prompt_id: str
    outputs: dict[str, dict] = field(default_factory=dict)
    images: dict[str, list[Image.Image]] = field(default_factory=dict)
    messages: list[tuple[str, dict]] = field(default_factory=list)
    previews: list[Image.Image] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def cached(self) -> list[str]:
        """The nodes that ComfyUI didn't run again."""
        return [node for kind, data in self.messages if kind == "execution_cached" for node in data["nodes"]]


class Client:
    """One ComfyUI server at `url`, e.g. "http://127.0.0.1:8188"."""

    def __init__(self, url: str):
        self.url = url

    def object_info(self) -> dict[str, dict]:
        """Every node's inputs and outputs, by node id."""
        return self.get("/object_info")

    def queue(self, workflow: Workflow, client_id: str = "") -> str:
        """Submit `workflow` and return its prompt id.

        Raises WorkflowError if any node fails validation, also where ComfyUI would go on with the other outputs.
        """
        answer = self.post("/prompt", {"prompt": workflow, "client_id": client_id or uuid.uuid4().hex})
        errors = validation_errors(answer.get("node_errors") or {})
        if errors or "error" in answer:
            if "prompt_id" in answer:
                self.post("/queue", {"delete": [answer["prompt_id"]]})
                self.interrupt(answer["prompt_id"])
            summary = answer.get("error") or {}
            text = " ".join(filter(None, (summary.get("message"), summary.get("details") if not errors else "")))
            raise WorkflowError(text or "The workflow is not valid.", errors)
        return answer["prompt_id"]

    def run(self, workflow: Workflow, progress: ProgressCallback | None = None, timeout: float = 1200) -> Result:
        """Submit `workflow`, wait for its end and collect its pictures.

        Raises WorkflowError if a node fails, Interrupted if the run is stopped, TimeoutError after `timeout` seconds
        (the run is then stopped).
        """
        client_id, began = uuid.uuid4().hex, time.monotonic()
        address = f"{self.url.replace('http', 'ws', 1)}/ws?clientId={client_id}"
        socket = websocket.create_connection(address, timeout=PATIENCE)
        socket.settimeout(5)  # and then it is asked whether the server is still there
        try:
            result = Result(self.queue(workflow, client_id))
            self._follow(socket, result, progress, began + timeout)
        finally:
            socket.close()
        raise_if_failed(result.messages)
        result.outputs = self.get(f"/history/{result.prompt_id}")[result.prompt_id]["outputs"]
        result.images = {
            node: [self.image(i) for i in out["images"]] for node, out in result.outputs.items() if out.get("images")
        }
        result.seconds = time.monotonic() - began
        return result

    def image(self, file: dict) -> Image.Image:
        """A picture by the {"filename", "subfolder", "type"} that a node reported."""
        return Image.open(io.BytesIO(self.get("/view?" + urllib.parse.urlencode(file), raw=True)))

    def interrupt(self, prompt_id: str = "") -> None:
        """Stop the run `prompt_id`, or whatever runs now."""
        self.post("/interrupt", {"prompt_id": prompt_id} if prompt_id else {})

    def check_alive(self) -> None:
        """Raise if the server can't answer any more. A client that doesn't own the server can't tell."""

    def _follow(self, socket, result: Result, progress: ProgressCallback | None, deadline: float) -> None:
        """Read messages until the server lets go of the run, which it says by executing no node."""
        while True:
            if time.monotonic() > deadline:
                self.interrupt(result.prompt_id)
                raise TimeoutError("The workflow took too long and was stopped.")
            try:
                message = socket.recv()
            except websocket.WebSocketTimeoutException:
                self.check_alive()
                continue
            except (websocket.WebSocketConnectionClosedException, ConnectionError) as error:
                self.check_alive()
                raise WorkflowError("The server closed the connection in the middle of the run.") from error
            if isinstance(message, bytes):
                if message[:4] == PREVIEW:
                    result.previews.append(Image.open(io.BytesIO(message[8:])))
                continue
            kind, data = (parsed := json.loads(message))["type"], parsed["data"]
            if data.get("prompt_id") != result.prompt_id:
                continue
            result.messages.append((kind, data))
            if kind == "progress" and progress:
                progress(data.get("node") or "", data["value"], data["max"])
            if kind == "executing" and data["node"] is None:
                return

    def get(self, path: str, raw: bool = False, timeout: float = PATIENCE):
        with urllib.request.urlopen(self.url + path, timeout=timeout) as response:  # noqa: S310 - our own loopback server
            body = response.read()
        return body if raw else json.loads(body)

    def post(self, path: str, body: dict) -> dict:
        """The server's answer as JSON; {} where it has none. A refusal that says why is an answer too."""
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:  # noqa: S310
                answer = response.read()
        except urllib.error.HTTPError as error:
            answer = error.read()
            if not answer.startswith(b"{"):
                raise
        return json.loads(answer) if answer.startswith(b"{") else {}


def validation_errors(node_errors: dict[str, dict]) -> list[NodeError]:
    errors = []
    for node_id, node in node_errors.items():
        for error in node["errors"]:
            message = ": ".join(filter(None, (error["message"], error["details"])))
            name = error.get("extra_info", {}).get("input_name", "")
            errors.append(NodeError(node_id, node["class_type"], message, name))
    return errors


def raise_if_failed(messages: list[tuple[str, dict]]) -> None:
    for kind, data in messages:
        if kind == "execution_interrupted":
            raise Interrupted(f"Stopped at node {data['node_id']} ({data['node_type']}).")
        if kind == "execution_error":
            error = NodeError(data["node_id"], data["node_type"], data["exception_message"].strip())
            raise WorkflowError(data["exception_type"], [error], "".join(data["traceback"]))
