"""The modules of the small broadcast service, made from the text that docs/GRPC.md has, as its programs make them."""

import re
import sys
import tempfile
from importlib import import_module, resources
from pathlib import Path

from grpc_tools import protoc

PAGE = (Path(__file__).parents[2] / "docs/GRPC.md").read_text()
(TEXT,) = re.findall(r"```proto\n(.*?)```", PAGE, re.DOTALL)


def _generate() -> None:
    # Kept as long as the tests run: protobuf reads it at the import only, but tracebacks later.
    _generate.folder = tempfile.TemporaryDirectory()
    folder = _generate.folder.name
    (Path(folder) / "chat.proto").write_text(TEXT)
    include = resources.files("grpc_tools") / "_proto"
    options = [f"-I{folder}", f"-I{include}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
    if protoc.main(["protoc", *options, "chat.proto"]):
        raise RuntimeError("the text of docs/GRPC.md does not compile")
    sys.path.append(folder)


_generate()
chat_pb2, chat_pb2_grpc = import_module("chat_pb2"), import_module("chat_pb2_grpc")
Message, NotiCode, UserId = chat_pb2.Message, chat_pb2.NotiCode, chat_pb2.UserId
ChatStub, NotifyStub = chat_pb2_grpc.ChatStub, chat_pb2_grpc.NotifyStub
