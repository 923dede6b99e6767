#!/usr/bin/env python3
"""Outrider backend plugin over Hugging Face transformers: backend.proto behind go-plugin's handshake."""

import os
import sys
import tempfile
import threading
from concurrent import futures
from pathlib import Path

HERE = Path(__file__).resolve().parent
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # the sandbox has no network, and no home to cache in
os.environ.setdefault("HF_HOME", os.path.join(tempfile.gettempdir(), "huggingface"))
sys.path[:0] = [str(HERE), os.environ.get("OUTRIDER_PROTO", str(HERE.parents[1] / "proto"))]

import grpc  # noqa: E402

pb, services = grpc.protos_and_services("outrider/v1/backend.proto")
decode = grpc.protos("outrider/v1/decode.proto")
for name in ("Choice", "Logprobs"):  # where either file has them
    if not hasattr(pb, name):
        setattr(pb, name, getattr(decode, name))

import tls  # noqa: E402
from engine import Engine, Refused  # noqa: E402

VERSION = 1  # backend.ProtocolVersion
COOKIE = ("OUTRIDER_PLUGIN", "8f0a1b64-outrider-backend")


class Backend(services.BackendServiceServicer):
    engine = None

    def __init__(self):
        self.drafts, self.guard = {}, threading.Lock()  # the newest draft of each sequence

    def Load(self, request, context):
        if self.engine is not None:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "a model is loaded already")
        yield pb.LoadResponse(progress=0)
        try:
            self.engine = Engine(pb, request.model, dict(request.options))
        except Exception as e:  # whatever a model's files bring about
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, " ".join(f"cannot load {request.model}: {e}".split()))
        yield pb.LoadResponse(progress=1, info=self.engine.info)

    def ready(self, context):
        if self.engine is None:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no model is loaded")
        return self.engine

    def Forward(self, request, context):
        engine, seen, results = self.ready(context), set(), []
        with engine.lock:
            for seg in request.segments:
                r = pb.SegmentResult()
                try:
                    if seg.sequence in seen:
                        raise Refused(pb.SEGMENT_ERROR_INVALID, "a sequence is in the batch twice")
                    seen.add(seg.sequence)
                    choices, logprobs = engine.run(seg)
                    r.choices.extend(choices)
                    r.logprobs.extend(logprobs)
                except Refused as e:
                    r = pb.SegmentResult(error=e.code, message=str(e))
                results.append(r)
        return pb.ForwardResponse(results=results)

    def Draft(self, request, context):
        engine, seg = self.ready(context), request.segment
        mine = object()
        with self.guard:
            self.drafts[seg.sequence] = mine  # which ends an older one
        setattr(seg, "from", len(seg.tokens) - 1 if request.max_tokens and seg.tokens else len(seg.tokens))
        path, version = 1.0, None
        for n in range(max(request.max_tokens, 1)):
            try:
                with engine.lock:
                    held = engine.sequences.get(seg.sequence)
                    if version is not None and (held is None or held.version != version):
                        raise Refused(pb.SEGMENT_ERROR_SEQUENCE_LOST, "another call has changed the sequence")
                    choices, _ = engine.run(seg)
                    version = engine.sequences[seg.sequence].version
            except Refused as e:
                yield pb.DraftResponse(error=e.code, message=str(e))
                return
            if request.max_tokens == 0:
                return
            yield pb.DraftResponse(choice=choices[0])
            path *= choices[0].confidence
            after = seg.start + len(seg.tokens)
            if (path < request.min_path or choices[0].token in engine.info.end_tokens or after >= engine.context
                    or not context.is_active() or self.drafts.get(seg.sequence) is not mine):
                return
            seg = pb.Segment(sequence=seg.sequence, start=after, tokens=[choices[0].token])

    def Release(self, request, context):
        engine = self.ready(context)
        with engine.lock:
            for s in request.sequences:
                engine.sequences.pop(s, None)
                self.drafts.pop(s, None)
        return pb.ReleaseResponse()


def health(server):
    """go-plugin pings the service "plugin" by gRPC's health protocol."""
    from grpc_health.v1 import health as h, health_pb2, health_pb2_grpc

    servicer = h.HealthServicer()
    servicer.set("plugin", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)


def main():
    if os.environ.get(COOKIE[0]) != COOKIE[1]:
        sys.exit("this is a plugin of outrider: name it as the engine's command instead of running it by hand")
    if str(VERSION) not in os.environ.get("PLUGIN_PROTOCOL_VERSIONS", str(VERSION)).split(","):
        sys.exit(f"this plugin speaks version {VERSION} of backend.proto only")
    folder = os.environ.get("PLUGIN_UNIX_SOCKET_DIR") or tempfile.mkdtemp(prefix="outrider-python-")  # for this user alone
    inner, outer = os.path.join(folder, "plugin-grpc"), os.path.join(folder, "plugin")
    most = 64 << 20
    server = grpc.server(futures.ThreadPoolExecutor(16), options=[("grpc.max_receive_message_length", most), ("grpc.max_send_message_length", most)])
    services.add_BackendServiceServicer_to_server(Backend(), server)
    health(server)
    server.add_insecure_port("unix:" + inner)
    server.start()
    certificate = tls.front(outer, inner, os.environ.get("PLUGIN_CLIENT_CERT", ""))
    print(f"1|{VERSION}|unix|{outer}|grpc|{certificate}", flush=True)
    sys.stdin.buffer.read()  # ends with the host, however that ends
    for path in (inner, outer):
        if os.path.exists(path):
            os.unlink(path)
    if not os.listdir(folder):
        os.rmdir(folder)
    os._exit(0)


if __name__ == "__main__":
    main()
