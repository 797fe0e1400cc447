"""The commands of ``curate tokenizer``: train, compare, cut and export tokenizers."""

from __future__ import annotations

import json
import os
from collections import Counter
from typing import Annotated, Literal

import typer

from curate.cli_common import AsJson, console, say

tokenizer_app = typer.Typer(no_args_is_help=True, help="Tokenizers: train, compare, cut, export.")


@tokenizer_app.command("train")
def tokenizer_train(
    inputs: Annotated[
        list[str], typer.Option("--input", metavar="PATH", help="Text, JSONL, Parquet, WARC … Repeatable.")
    ],
    output: Annotated[str, typer.Option(metavar="DIR", help="The folder to write the tokenizer into.")],
    vocab_size: Annotated[int | None, typer.Option(help="Ids in all, special ones included.")] = None,
    preset: Annotated[
        Literal["llama", "llama3"] | None, typer.Option(help="LLaMA's 32,000 ids, or Llama 3's 128,256.")
    ] = None,
    kind: Annotated[
        Literal["bpe", "sentencepiece"] | None, typer.Option(help="Byte-level BPE, or SentencePiece as LLaMA.")
    ] = None,
    base: Annotated[str | None, typer.Option(metavar="NAME|PATH", help="A byte-level BPE to grow.")] = None,
    new_tokens: Annotated[int | None, typer.Option(metavar="N", help="How many tokens --base gets.")] = None,
    min_count: Annotated[int | None, typer.Option(metavar="N", help="Leave out what occurs less often.")] = None,
    merge_bytes: Annotated[
        int | None, typer.Option(metavar="N", help="Learn from so many bytes of words; bounds the memory.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any other key of [tokenizer.train]. Repeatable."),
    ] = None,
    text_column: Annotated[str, typer.Option(metavar="NAME", help="Where JSONL and Parquet hold the text.")] = "text",
    as_json: AsJson = False,
) -> None:
    """Train a tokenizer on the texts of files. (That of a run is trained by its recipe.)"""
    from curate.errors import RecipeError
    from curate.pipelines.check_tokenizer import load_training, tokenizer_place
    from curate.pipelines.texts import list_texts, read_texts
    from curate.pipelines.training import train_on_texts
    from curate.readers import ReadSettings
    from curate.report import show
    from curate.tokenize import registry

    given = {"preset": preset, "kind": kind, "vocab_size": vocab_size, "new_tokens": new_tokens}
    given |= {"min_count": min_count, "merge_bytes": merge_bytes}
    settings = load_training({**given, "base": tokenizer_place(base) if base else None}, overrides or ())
    files = list_texts(inputs)
    tally: Counter[str] = Counter()
    try:
        trained = train_on_texts(read_texts(files, ReadSettings(columns={"text": text_column}), tally), settings)
    except RecipeError:
        # texts that could not be read may be why there is too little
        for name in sorted(tally.keys() - {"texts"}):
            say(f"{name}: {tally[name]}")
        raise
    registry.save(trained, output)
    card = json.loads(trained[registry.CARD_FILE])
    if as_json:
        show.show_json(console(), {"folder": output, "files": len(files), "read": dict(tally), "card": card})
    else:
        show.show_tokenizer(console(), output, card, tally)


@tokenizer_app.command("export")
def tokenizer_export(
    tokenizer: Annotated[
        str, typer.Argument(metavar="NAME|PATH", help="An asset, a model file, or a folder that train wrote.")
    ],
    to: Annotated[str, typer.Option(metavar="DIR", help="The folder to write.")],
    infilling: Annotated[
        bool, typer.Option("--infilling", help="Add Code Llama's infilling tokens to a SentencePiece model.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a tokenizer as a folder that transformers, tiktoken and SentencePiece load, with its ids."""
    from curate import assets
    from curate.pipelines.check_tokenizer import tokenizer_place
    from curate.report import show
    from curate.tokenize import export, registry

    name = tokenizer if tokenizer in assets.ASSETS else ""
    files = export.export(tokenizer_place(tokenizer), name=name, infilling=infilling)
    registry.save(files, to)
    card = json.loads(files[registry.CARD_FILE])
    if as_json:
        show.show_json(console(), {"folder": to, "card": card})
    else:
        show.show_tokenizer(console(), to, card, {})


@tokenizer_app.command("cut")
def tokenizer_cut(
    tokenizer: Annotated[
        str, typer.Argument(metavar="NAME|PATH", help="A byte-level BPE: an asset, a rank file, or a saved folder.")
    ],
    output: Annotated[str, typer.Option(metavar="DIR", help="The folder to write the smaller tokenizer into.")],
    vocab_size: Annotated[int, typer.Option(help="Ids in all, special ones included.")],
    as_json: AsJson = False,
) -> None:
    """Cut a vocabulary to its first merges: what training the smaller one on the same text gives."""
    from curate.pipelines.check_tokenizer import tokenizer_place
    from curate.report import show
    from curate.tokenize import registry, train

    files = train.cut(registry.read(tokenizer_place(tokenizer))[1], vocab_size, where=tokenizer)
    registry.save(files, output)
    card = json.loads(files[registry.CARD_FILE])
    if as_json:
        show.show_json(console(), {"folder": output, "card": card})
    else:
        show.show_tokenizer(console(), output, card, {})


@tokenizer_app.command("compare")
def tokenizer_compare(
    tokenizers: Annotated[
        list[str], typer.Argument(metavar="TOKENIZER...", help="Assets, files, folders or runs; NAME=… names one.")
    ],
    on: Annotated[
        list[str] | None,
        typer.Option(
            "--on", metavar="SOURCE", help="A run, files or globs; the sample texts if not given. Repeatable."
        ),
    ] = None,
    text_column: Annotated[str, typer.Option(metavar="NAME", help="Where JSONL and Parquet hold the text.")] = "text",
    max_documents: Annotated[int, typer.Option(min=1, help="How many documents are drawn; 64 MiB at most.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw and of the intervals.")] = 0,
    parameters: Annotated[int, typer.Option(min=1, help="Of the model that training is costed for.")] = 8_000_000_000,
    context_length: Annotated[int, typer.Option(min=1, help="Tokens of its context.")] = 8192,
    speed: Annotated[bool, typer.Option("--speed", help="Also measure speed on this machine.")] = False,
    html: Annotated[str | None, typer.Option(metavar="FILE", help="Also write a page with plots to this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare tokenizers on the same texts: compression, languages, words, numbers, code, vocabulary, cost."""
    from curate.errors import RecipeError
    from curate.report import compare_page, comparison, show
    from curate.tokenize.compare import CompareSettings

    if html is not None and os.path.isdir(html):
        raise RecipeError(f"--html {html}: is a folder; name a file in it")

    result = comparison.compare_tokenizers(
        tokenizers,
        on or (),
        text_column=text_column,
        max_documents=max_documents,
        settings=CompareSettings(seed=seed, parameters=parameters, context_length=context_length),
        speed=speed,
        say=say,
    )
    if html is not None:
        compare_page.write_page(html, result)
    if as_json:
        show.show_json(console(), result)
    else:
        show.show_comparison(console(), result)
