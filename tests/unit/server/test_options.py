"""The command line: verdicts and words as Envoy's."""

import pytest

from proxeny.server.flags import ArgumentError, help_text, parse, parse_error_text
from proxeny.server.options import Mode, OptionsError, options_from


def test_defaults() -> None:
    options = options_from(["-c", "x.yaml"])
    assert options.config_path == "x.yaml"
    assert options.mode is Mode.SERVE
    assert options.concurrency >= 1
    assert (options.log_level, options.drain_time_s, options.file_flush_interval_msec) == ("info", 600, 10000)


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["--bogus"], "--bogus -- Couldn't find match for argument"),
        (["extra"], "extra -- Couldn't find match for argument"),
        (["--mode=validate"], "--mode=validate -- Couldn't find match for argument"),
        (["-c"], "-c (--config-path) -- Missing a value for this argument!"),
        (["-c", "a", "--config-path", "b"], "-c (--config-path) -- Argument already set!"),
        (["--concurrency", "x"], "(--concurrency) -- Couldn't read argument value from string 'x'"),
        (["--concurrency", "-1"], "(--concurrency) -- Couldn't read argument value from string '-1'"),
        (["--concurrency", "٣"], "(--concurrency) -- Couldn't read argument value from string '٣'"),
        (["--base-id", "4294967296"], "(--base-id) -- Couldn't read argument value from string '4294967296'"),
    ],
)
def test_arguments_that_do_not_parse(argv: list[str], text: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        options_from(argv)
    assert str(caught.value) == text
    assert parse_error_text("proxeny", caught.value).startswith(f"PARSE ERROR: Argument: {caught.value.argument}\n")


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["--mode", "bogus"], "error: unknown mode 'bogus'"),
        (["-l", "bogus"], "error: invalid log level specified 'bogus'"),
        (["--component-log-level", "upstream"], "error: component log level not correctly specified 'upstream'"),
        (["--component-log-level", "upstream:loud"], "error: invalid log level specified 'loud'"),
        (["--component-log-level", "nosuch:debug"], "error: invalid component specified 'nosuch'"),
        (["--local-address-ip-version", "v5"], "error: unknown IP address version 'v5'"),
        (["--drain-strategy", "slow"], "error: unknown drain-strategy 'slow'"),
        (["--stats-tag", "foo"], "error: misformatted stats-tag 'foo'"),
        (["--stats-tag", "a-:b"], "error: misformatted stats-tag 'a-:b' contains invalid char in 'a-'"),
        (["--stats-tag", "a:b.c"], "error: misformatted stats-tag 'a:b.c' contains invalid char in 'b.c'"),
        (["--restart-epoch", "1"], "error: --restart-epoch above 0: hot restart is not supported yet"),
        (["--restart-epoch", "1", "--use-dynamic-base-id"],
         "error: cannot use --restart-epoch=1 with --use-dynamic-base-id"),
        (["--enable-mutex-tracing"], "error: --enable-mutex-tracing is not supported yet"),
        (["--disable-extensions", "x"], "error: --disable-extensions is not supported yet"),
    ],
)  # fmt: skip
def test_values_that_are_refused(argv: list[str], text: str) -> None:
    with pytest.raises(OptionsError) as caught:
        options_from(argv)
    assert str(caught.value) == text


def test_values() -> None:
    options = options_from(
        ["--concurrency", "0", "--base-id", "7", "--component-log-level", "upstream:debug,http:off",
         "--stats-tag", "a:b", "--stats-tag", "c:d", "--mode", "init_only", "--allow-unknown-fields",
         "--config-yaml", "--help", "--", "--bogus"]
    )  # fmt: skip
    assert options.concurrency == 1
    assert options.base_id == 7
    assert options.component_log_levels == {"upstream": "debug", "http": "off"}
    assert options.stats_tags == {"a": "b", "c": "d"}
    assert options.mode is Mode.INIT_ONLY
    assert options.allow_unknown_static_fields
    assert options.notices
    assert options.config_yaml == "--help"


def test_information_ends_the_parse() -> None:
    assert options_from(["--version", "--bogus"]).information == "version"
    assert options_from(["-h"]).information == "help"
    assert options_from(["--hot-restart-version"]).information == "hot-restart-version"
    assert parse(["--concurrency", "3", "--help"]) == {"help": True}


def test_help_names_every_flag() -> None:
    text = help_text("proxeny")
    for name in ("--config-path <string>", "--concurrency <uint32_t>", "--stats-tag <string>", "--mode"):
        assert name in text


def test_help_names_every_subcommand() -> None:
    text = help_text("proxeny")
    for name in ("demo", "config", "explain", "intercept"):
        assert f"   proxeny  {name} " in text
        assert f"\n   {name}\n" in text


def test_patches_are_listed_in_their_order() -> None:
    assert options_from(["--patch", "a", "-c", "x", "--patch", "b"]).patch == ["a", "b"]
    assert options_from([]).patch == []
