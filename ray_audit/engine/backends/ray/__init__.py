"""The stages on Ray Data; nothing else of the engine imports ray."""
