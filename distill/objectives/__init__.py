"""What an encoder is pretrained to do; one file a method, each with its paper."""
