"""Measuring in fresh processes: the machine (`machine`), the device (`device`), and jobs in rounds (`processes`)."""
