"""The Registry's RPCs: messages checked and turned into the domain's words, and back."""
