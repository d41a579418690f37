"""Messages of processes, as they can be stored and shown."""

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from services.common.text import fitting


def clean(message: Message) -> None:
    """Takes control characters out of every text in a message.

    A process says what artifacts and libraries have said to it, and is not refused for that. Maps are left as they are.
    """
    for field, value in message.ListFields():
        repeated = field.is_repeated
        made_of = field.message_type
        if made_of is not None and not made_of.GetOptions().map_entry:
            for one in value if repeated else (value,):
                clean(one)
        elif field.type == FieldDescriptor.TYPE_STRING:
            texts = [fitting(text, len(text)) for text in (value if repeated else (value,))]
            if repeated:
                value[:] = texts
            else:
                setattr(message, field.name, texts[0])
