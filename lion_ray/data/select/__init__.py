"""Which images are used: splits by count, few-shot and noisy modifiers, bad images left out."""
