"""Descriptors of a file in another package."""

from collections.abc import Mapping

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto


def moved(
    file: FileDescriptorProto, package: str, name: str, renamed: Mapping[str, str] | None = None
) -> FileDescriptorProto:
    """A file as it would be in another package; its bytes on the wire are the same.

    Args:
        file: stays as it is.
        package: the other one.
        name: the path of the new file.
        renamed: new names of messages of the file's outermost level.
    """
    new = FileDescriptorProto()
    new.CopyFrom(file)
    new.name, new.package = name, package
    # Where other languages have the code of the other package is not known.
    new.ClearField("options")
    names = renamed or {}
    before = f".{file.package}."

    def name_of(full: str) -> str:
        if not full.startswith(before):
            return full
        first, dot, rest = full.removeprefix(before).partition(".")
        return f".{package}.{names.get(first, first)}{dot}{rest}"

    def rename(message: DescriptorProto) -> None:
        for field in message.field:
            # A number or a text has none.
            if field.type_name:
                field.type_name = name_of(field.type_name)
        for nested in message.nested_type:
            rename(nested)

    for message in new.message_type:
        message.name = names.get(message.name, message.name)
        rename(message)
    for service in new.service:
        for method in service.method:
            method.input_type, method.output_type = name_of(method.input_type), name_of(method.output_type)
    return new
