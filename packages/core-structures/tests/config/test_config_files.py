"""Configuration files: formats, inheritance, faults.

Rows D2-078, D2-119 to D2-122, D2-136, D2-138, FV-080, MM-087, MM-091 in spirit; D2-Q31: a file
never runs code; D2-Q32: what is written can be read, or is refused while writing.
"""

import pickle

import pytest

from okulo_core.config import load_config, read_file, save_config
from okulo_core.errors import ConfigError, MissingFileError

RUN = {
    "yaml": """
model:
  type: detector
  version: 3
  num_classes: 3
  backbone: {type: fpn, bottom_up: {type: resnet, depth: 18}}
augmentations: [{type: flip}]
lr: 1e-4
""",
    "toml": """
lr = 1e-4
[model]
type = "detector"
version = 3
num_classes = 3
[model.backbone]
type = "fpn"
bottom_up = {type = "resnet", depth = 18}
[[augmentations]]
type = "flip"
""",
    "json": """
{"model": {"type": "detector", "version": 3, "num_classes": 3,
           "backbone": {"type": "fpn", "bottom_up": {"type": "resnet", "depth": 18}}},
 "augmentations": [{"type": "flip"}], "lr": 1e-4}
""",
}


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


@pytest.mark.parametrize("suffix", RUN)
def test_every_format_states_the_same_run(suffix, write, catalog, toys):
    assert load_config(write(f"run.{suffix}", RUN[suffix]), toys.RunConfig, catalog) == (
        toys.RunConfig(
            model=toys.DetectorConfig(
                num_classes=3, backbone=toys.FPNConfig(bottom_up=toys.ResNetConfig(depth=18))
            ),
            augmentations=(toys.FlipConfig(),),
            lr=1e-4,
        )
    )


class TestYaml:
    def test_follows_the_core_schema_of_yaml_1_2(self, write):
        numbers = read_file(write("a.yaml", "a: [1e-4, 1.5E3, -.inf, 010, 0x1F, 0o17]"))["a"]
        assert numbers == [1e-4, 1500.0, float("-inf"), 10, 31, 15]
        words = read_file(write("a.yaml", "a: [no, on, 2020-01-01, 1:30, ~, true, '']"))["a"]
        assert words == ["no", "on", "2020-01-01", "1:30", None, True, ""]

    def test_anchors_and_merge_keys_work(self, write):
        text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {<<: *a}\n"
        assert read_file(write("a.yaml", text))["b"] == {"x": 1, "y": 3}

    def test_a_key_given_twice_is_refused_with_its_line(self, write):
        with pytest.raises(ConfigError, match=r"line 2: the key 'steps' appears twice"):
            read_file(write("a.yaml", "steps: 1\nsteps: 2\n"))

    @pytest.mark.parametrize(
        "text",
        [
            "!!python/object/apply:os.system [exit 1]",
            "!!python/object:collections.OrderedDict {}",
            "!!python/name:os.system",
            "!call:torch.nn.Conv2d {}",
        ],
    )
    def test_a_tag_that_makes_objects_is_refused_with_its_line(self, write, text):
        with pytest.raises(ConfigError) as caught:
            read_file(write("a.yaml", f"steps: 1\nmodel: {text}\n"))
        assert "a.yaml:\n  line 2: the tag" in str(caught.value)
        assert "a configuration holds plain data and runs no code" in str(caught.value)

    def test_an_empty_file_states_nothing(self, write):
        assert read_file(write("a.yaml", "# nothing\n")) == {}

    def test_endless_nesting_is_refused(self, write):
        with pytest.raises(ConfigError, match="nested too deeply"):
            read_file(write("a.yaml", "a: " + "[" * 1200))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.yaml", "a: 1\nb: [1\nc: 2\n", "line 3: expected ',' or ']'"),
        ("a.toml", "a = 1\nb = \n", "(at line 2, column 5)"),
        ("a.json", '{"a": 1,\n "b": }', "line 2 column 7"),
        ("a.json", '{"a": 1, "a": 2}', "the key 'a' appears twice"),
        ("a.yaml", "- 1\n", "expected a mapping, got [1]"),
        ("a.json", "3", "expected a mapping, got 3"),
        ("a.py", "a = 1", "expected a file ending in .yaml, .yml, .toml, .json, got 'a.py'"),
        ("a.yaml", "base: 3", "base: expected a path or a list of paths, got 3"),
    ],
)
def test_a_file_that_cannot_be_read_names_file_and_line(write, name, text, message):
    with pytest.raises(ConfigError) as caught:
        read_file(write(name, text))
    assert message in str(caught.value)
    assert name in str(caught.value)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(ConfigError, match="codec can't decode"):
        read_file(tmp_path / "a.yaml")


def test_faults_name_the_file(write, catalog, toys):
    with pytest.raises(ConfigError) as caught:
        load_config(write("run.yaml", "steps: x"), toys.RunConfig, catalog)
    assert str(caught.value).splitlines()[0].endswith("run.yaml:")
    assert caught.value.problems == (
        "model: is required and has no default",
        "steps: expected int, got 'x'",
    )
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


class TestBase:
    def test_mappings_merge_and_lists_replace(self, write):
        write("base.yaml", "a: {x: 1, y: {p: 1}}\nlist: [1, 2]\n")
        path = write("run.yaml", "base: base.yaml\na: {y: {q: 2}}\nlist: [3]\n")
        assert read_file(path) == {"a": {"x": 1, "y": {"p": 1, "q": 2}}, "list": [3]}

    def test_another_type_replaces_the_component(self, write):
        write("base.yaml", "net: {type: fpn, out: 8}\nsame: {type: fpn, out: 8}\n")
        path = write("run.yaml", "base: base.yaml\nnet: {type: vit}\nsame: {type: fpn, x: 1}\n")
        assert read_file(path)["net"] == {"type": "vit"}
        assert read_file(path)["same"] == {"type": "fpn", "out": 8, "x": 1}

    def test_of_several_the_later_win_and_each_may_inherit(self, write):
        write("deep/root.toml", "a = 1\nb = 1\nc = 1\nd = 1\n")
        write("deep/one.yaml", "base: root.toml\nb: 2\nc: 2\nd: 2\n")
        write("two.json", '{"c": 3, "d": 3}')
        path = write("run.yaml", "base: [deep/one.yaml, two.json]\nd: 4\n")
        assert read_file(path) == {"a": 1, "b": 2, "c": 3, "d": 4}

    def test_one_base_may_be_reached_twice(self, write):
        write("root.yaml", "a: 1\n")
        write("one.yaml", "base: root.yaml\n")
        assert read_file(write("run.yaml", "base: [root.yaml, one.yaml]\n")) == {"a": 1}

    def test_a_circle_is_refused_and_shown(self, write):
        write("a.yaml", "base: b.yaml\n")
        with pytest.raises(
            ConfigError, match=r"inherits from itself: .*b\.yaml -> .*a\.yaml -> .*b"
        ):
            read_file(write("b.yaml", "base: a.yaml\n"))

    def test_a_missing_base_names_both_files(self, write):
        with pytest.raises(MissingFileError, match=r"run\.yaml names the base .*no\.yaml"):
            read_file(write("run.yaml", "base: no.yaml\n"))

    def test_a_path_of_a_plugin_is_resolved(self, write):
        place = write("elsewhere/base.yaml", "a: 1\n")
        resolve = lambda path: str(place) if path == "recipe://base" else path
        path = write("run.yaml", "base: recipe://base\n")
        assert read_file(path, resolve=resolve) == {"a": 1}

    def test_a_path_may_begin_with_the_home_folder(self, write, monkeypatch):
        place = write("home/base.yaml", "a: 1\n")
        monkeypatch.setenv("HOME", str(place.parent))
        assert read_file(write("run.yaml", "base: ~/base.yaml\n")) == {"a": 1}


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingFileError, match=r"there is no file .*no\.yaml"):
        read_file(tmp_path / "no.yaml")


class TestSaving:
    def test_toml_refuses_a_null_that_a_default_would_hide(self, tmp_path, catalog, toys):
        config = toys.RunConfig(
            model=toys.DetectorConfig(num_classes=3), checkpoint=toys.CheckpointConfig(keep=None)
        )
        with pytest.raises(
            ConfigError, match=r"checkpoint\.keep: is null, which TOML cannot state"
        ):
            save_config(config, tmp_path / "run.toml", catalog)
        assert not list(tmp_path.iterdir())

    def test_an_unknown_format_is_refused(self, tmp_path, catalog, toys):
        with pytest.raises(ConfigError, match=r"expected a file ending in \.yaml"):
            save_config(toys.CheckpointConfig(), tmp_path / "run.txt", catalog)

    def test_a_value_without_a_form_in_files_is_named(self, tmp_path, catalog, toys):
        config = toys.RunConfig(model=toys.DetectorConfig(num_classes=3), anything={"f": [len]})
        with pytest.raises(ConfigError, match=r"anything\.f\.0: a value of type builtin_function"):
            save_config(config, tmp_path / "run.yaml", catalog)

    def test_yaml_keeps_the_order_and_is_readable(self, tmp_path, catalog, toys):
        save_config(
            toys.RunConfig(model=toys.DetectorConfig(num_classes=3)), tmp_path / "a.yaml", catalog
        )
        lines = (tmp_path / "a.yaml").read_text().splitlines()
        assert lines[:4] == ["model:", "  type: detector", "  version: 3", "  num_classes: 3"]
        assert "sizes: [640, 800]" in lines
        at = lines.index("augmentations:")
        assert lines[at + 1 : at + 3] == ["- type: resize", "  short: 800"]
