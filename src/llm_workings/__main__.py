"""`python -m llm_workings` is `llm-workings`."""

from .cli import main

if __name__ == "__main__":
    main()
