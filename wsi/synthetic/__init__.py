"""Made-up slides: deterministic pixels that look like H&E, with truth known for every one."""
