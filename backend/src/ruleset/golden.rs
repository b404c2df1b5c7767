//! The goldens of `tests/rulesets/`: settings in, ruleset out, and the kernel agrees.
//!
//! `BLESS=1 cargo test -p postern golden` writes them anew; the diff is what is reviewed.

use std::fs;
use std::io::{Write, stderr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Capabilities, Helper, Ruleset, absent, compile, deny};
use crate::settings::Settings;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/rulesets");

/// One folder: what goes in, and what must come out.
struct Case {
    name: String,
    golden: PathBuf,
    ruleset: Ruleset,
}

fn cases() -> Vec<Case> {
    let folders = fs::read_dir(FOLDER).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = folders.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders.iter().map(|folder| case(folder)).collect()
}

fn case(folder: &Path) -> Case {
    let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
    let text = fs::read_to_string(folder.join("settings.toml")).unwrap();
    assert!(
        text.starts_with("# ") && text.lines().next().unwrap().ends_with('.'),
        "{name}: begin with a sentence"
    );
    assert!(text.lines().count() <= 10, "{name}: only what differs from the factory state");
    let settings = Settings::from_toml(&text).unwrap();
    assert_eq!((settings.check(), settings.not_built()), (vec![], vec![]), "{name}");
    let said = |words: &str| text.lines().any(|line| line == words);
    let lacks = |word: &str| said(&format!("# capabilities: no {word}"));
    let capabilities = Capabilities {
        helpers: Helper::ALL.into_iter().filter(|one| !lacks(&format!("{} helper", one.name()))).collect(),
        many_clients: !lacks("zones"),
        forwards: !lacks("fib"),
        events: !lacks("events"),
        names: !lacks("names"),
        ..Capabilities::everything()
    };
    let ruleset = if said("# state: deny") { deny(&settings) } else { compile(&settings, &capabilities) };
    Case { name, golden: folder.join("golden.nft"), ruleset }
}

#[test]
fn every_golden_is_what_its_settings_compile_to() {
    let cases = cases();
    assert!(cases.len() >= 12, "only {} goldens in {FOLDER}", cases.len());
    for Case { name, golden, ruleset } in cases {
        let text = ruleset.to_string();
        if std::env::var_os("BLESS").is_some() {
            fs::write(&golden, &text).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        let line = text.lines().zip(expected.lines()).find(|(now, golden)| now != golden);
        assert!(text == expected, "{name}: differs first at {line:?}; if that is right, BLESS=1");
    }
}

/// Loads every ruleset alone, twice, and after the extremes, in a namespace of its own. Whatever was loaded before,
/// the kernel must then hold the same rules (helper objects, and sets and maps with what they have learnt, may remain; no
/// rule uses them).
const SCRIPT: &str = r#"
set -eu
load() { nft -f "$1" || { echo "cannot load $1 $2"; exit 1; }; }
# Chains in the order of the alphabet: nft lists them in the order in which they were made, and a role changes some.
listed() {
    nft -s list table inet postern 2>/dev/null | sed '/^\t\(ct helper\|set\|map\) /,/^\t}/d; /^$/d; /^}/d' |
        awk '/^\t(chain|counter) /{ of = $1 $2; n = 0 } { printf "%s %04d %s\n", of, n++, $0 }' | sort
}
for one in *.nft; do
    nft --check -f "$one" || { echo "--check refuses $one"; exit 1; }
    load absent.nft ""
    load "$one" "alone"
    listed > alone.txt
    load "$one" "twice"
    listed > again.txt
    cmp alone.txt again.txt || { echo "$one differs when loaded twice"; exit 1; }
    for before in absent.nft 12-*.nft 25-deny.nft 32-*.nft 60-*.nft 70-*.nft; do
        [ -e "$before" ] || continue # 70 needs the helper
        load "$before" "after $one"
        load "$one" "after $before"
        listed > after.txt
        cmp alone.txt after.txt || { echo "$one differs after $before"; exit 1; }
    done
    echo "$one $(grep -o 'postern schema [0-9]*, [a-z ]*' alone.txt || true)"
done
"#;

#[test]
fn the_kernel_takes_every_golden_whatever_was_loaded_before() {
    let Some(unshare) = namespace() else {
        let message = "rulesets were NOT loaded: nft or unprivileged namespaces are missing here";
        assert!(std::env::var_os("CI").is_none(), "{message}");
        writeln!(stderr(), "\n!!! {message}\n").unwrap();
        return;
    };
    let helper = knows_helper(&unshare);
    if !helper {
        writeln!(stderr(), "\n!!! this kernel has no PPTP helper: rulesets that use it were NOT loaded\n")
            .unwrap();
    }
    let folder = std::env::temp_dir().join(format!("postern-goldens-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let mut expected = vec!["absent.nft ".to_owned()];
    fs::write(folder.join("absent.nft"), absent().to_string()).unwrap();
    for Case { name, ruleset, .. } in cases() {
        let text = ruleset.to_string();
        if helper || !text.contains("ct helper") {
            let text = ruleset.clone().from_another_role().to_string();
            fs::write(folder.join(format!("{name}.nft")), text).unwrap();
            expected.push(format!("{name}.nft {}", ruleset.about().unwrap_or_default()));
        }
    }
    let run =
        Command::new(unshare[0]).args(&unshare[1..]).args(["sh", "-c", SCRIPT]).current_dir(&folder).output();
    fs::remove_dir_all(&folder).unwrap();
    let run = run.unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{said}{}", String::from_utf8_lossy(&run.stderr));
    expected.sort();
    let mut loaded: Vec<&str> = said.lines().collect();
    loaded.sort_unstable();
    assert_eq!(loaded, expected);
}

/// How to run something in a network namespace of its own where nft works.
fn namespace() -> Option<Vec<&'static str>> {
    let works = |words: &[&str]| {
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .args(["nft", "list", "ruleset"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    [vec!["unshare", "-rn"], vec!["unshare", "-n"]].into_iter().find(|words| works(words))
}

fn knows_helper(unshare: &[&str]) -> bool {
    let probe = "add table inet probe; add ct helper inet probe pptp { type \"pptp\" protocol tcp; }";
    let mut command = Command::new(unshare[0]);
    command.args(&unshare[1..]).args(["nft", "--check", probe]).stderr(Stdio::null());
    command.status().unwrap().success()
}
