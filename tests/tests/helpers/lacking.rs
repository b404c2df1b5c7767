//! Kernels that lack something: it costs that and nothing else, and is there after a look.

use lab::{Form, Lab, PASSWORD, Postern};

/// An nft that refuses whatever holds the words in `/run/lab/lacks`, if that file is there: as if the kernel could not.
const POOR: &str = r#"#!/bin/sh
text=$(cat)
if [ -s /run/lab/lacks ] && printf '%s' "$text" | grep -q -f /run/lab/lacks; then
    echo "Error: Could not process rule: No such file or directory" >&2
    exit 1
fi
printf '%s\n' "$text" | /run/lab/nft "$@"
"#;

const EVERYTHING: [&str; 7] = [
    "forwards.web=tcp 8080 to 192.168.1.101",
    "passthrough.pptp.enabled=true",
    "helpers.ftp=true",
    "helpers.tftp=true",
    "helpers.sip=true",
    "helpers.h323=true",
    "helpers.irc=true",
];

/// Names as in the status, what nft refuses then, and what the rules then do not have.
const LACKS: [(&str, &str, &str); 10] = [
    (r#"{"helper":"pptp"}"#, "type \"pptp\"", "ct helper set \"pptp\""),
    (r#"{"helper":"ftp"}"#, "type \"ftp\"", "ct helper set \"ftp\""),
    (r#"{"helper":"tftp"}"#, "type \"tftp\"", "ct helper set \"tftp\""),
    (r#"{"helper":"sip"}"#, "type \"sip\"", "ct helper set \"sip_udp\""),
    (r#"{"helper":"h323"}"#, "type \"Q.931\"", "ct helper set \"ras\""),
    (r#"{"helper":"irc"}"#, "type \"irc\"", "ct helper set \"irc\""),
    (r#""many_clients""#, "ct zone set", "@esp_in"),
    (r#""forwards""#, "oif missing", "map @forward_port"),
    (r#""names""#, "log group", "log group"),
    (r#""events""#, "ct event", "ct event"),
];

fn poor_nft(lab: &Lab) {
    let script = lab.script("poor-nft", POOR);
    lab.outer().ok(&["cp", "/usr/sbin/nft", "/run/lab/nft"]);
    lab.outer().ok(&["mount", "--bind", &script, "/usr/sbin/nft"]);
}

#[track_caller]
fn lacks(postern: &Postern) -> Vec<String> {
    let status = postern.json(&["status"]);
    assert_eq!(status["rules"], "loaded", "{status}");
    let all = status["lacks"].as_array().expect("the status says what is missing");
    for lack in all {
        let remedy = lack["remedy"].as_str().unwrap_or_default();
        assert!(remedy.contains("OpenWrt") && remedy.contains("Debian"), "{lack}");
    }
    all.iter().map(|lack| lack["feature"].to_string()).collect()
}

/// The rules for what comes from the internet.
#[track_caller]
fn accepted(rules: &str) -> Vec<&str> {
    rules.lines().filter(|line| line.contains(" accept ")).collect()
}

#[test]
fn what_a_kernel_lacks_costs_that_and_nothing_else_and_comes_back_after_a_look() {
    let lab = Lab::new();
    poor_nft(&lab);
    let mut postern = lab.postern_router();
    postern.set(&EVERYTHING);
    assert_eq!(lacks(&postern), [""; 0], "this kernel can do everything");
    let whole = postern.ok(&["rules"]);
    for (name, words, rule) in LACKS {
        lab.outer().write("/run/lab/lacks", format!("{words}\n"));
        postern.crash_daemon();
        postern.start_daemon();
        assert_eq!(lacks(&postern), [name], "only that is missing");
        let poor = postern.ok(&["rules"]);
        let has =
            |rules: &str| rules.split_once("flush table").is_some_and(|(_, rules)| rules.contains(rule));
        assert!(has(&whole) && !has(&poor), "{name}: {rule}");
        let (full, poor) = (accepted(&whole), accepted(&poor));
        let new: Vec<_> =
            poor.iter().filter(|line| !full.contains(line) && !line.contains("established accept")).collect();
        assert!(new.is_empty(), "{name} opens {new:?}");
        assert!(postern.ok(&["check"]).contains("It lacks"), "{name}");
        // A package was installed.
        lab.outer().ok(&["rm", "/run/lab/lacks"]);
        let said = postern.ok(&["look-again"]);
        assert!(
            said.contains("rules were made anew") && said.contains("can do everything"),
            "{name}: {said}"
        );
        assert_eq!(lacks(&postern), [""; 0], "{name}");
        assert_eq!(postern.ok(&["rules"]), whole, "{name}");
    }
}

#[test]
fn a_helper_that_is_missing_is_asked_for_again_when_somebody_wants_it() {
    let lab = Lab::new();
    poor_nft(&lab);
    lab.outer().write("/run/lab/lacks", "type \"ftp\"\n");
    let postern = lab.postern_router();
    postern.set(&["helpers.ftp=true"]);
    let state = |postern: &Postern| {
        let status = postern.json(&["status"]);
        status["helpers"].as_array().unwrap().iter().find(|one| one["helper"] == "ftp").cloned().unwrap()
    };
    let ftp = state(&postern);
    assert_eq!(ftp["effect"], "differs", "{ftp}");
    assert!(ftp["reason"].as_str().unwrap_or_default().contains("kmod-nf-nathelper."), "{ftp}");
    lab.outer().ok(&["rm", "/run/lab/lacks"]);
    // Saving anything else finds it.
    postern.set(&["helpers.tftp=true"]);
    assert_eq!(state(&postern)["effect"], "ready");
    assert!(postern.table().is_some_and(|table| table.contains("ct helper set \"ftp\"")));
}

#[test]
fn the_page_names_the_package_that_is_missing_and_its_button_finds_it_when_it_has_come() {
    const PAGE: &str = "/security/helpers";
    let lab = Lab::new();
    poor_nft(&lab);
    lab.outer().write("/run/lab/lacks", "type \"ftp\"\n");
    let mut postern = lab.postern_router();
    postern.set(&["helpers.ftp=true"]);
    postern.start_web(&lab);
    let mut owner = postern.visitor(&lab, "laptop1");
    let login = owner.form("/login", "password").fill("password", PASSWORD);
    assert_eq!(owner.submit("/login", &login).status, 303);
    let page = owner.get(PAGE).body;
    for words in
        ["It lacks the helper for FTP.", "kmod-nf-nathelper.", "nf_conntrack_ftp", "data-effect=\"differs\""]
    {
        assert!(page.contains(words), "{words}: {page}");
    }
    let look = |page: &str| Form::all(page).into_iter().find(|form| form.action == "/look-again");
    let button = look(&page).expect("the page has the button");
    // Nothing has come yet.
    assert_eq!(owner.submit(PAGE, &button).status, 303);
    let page = owner.get(PAGE).body;
    assert!(page.contains("This kernel still lacks the helper for FTP"), "{page}");
    lab.outer().ok(&["rm", "/run/lab/lacks"]);
    assert_eq!(owner.submit(PAGE, &button).status, 303);
    let page = owner.get(PAGE).body;
    assert!(page.contains("This kernel can do everything") && !page.contains("It lacks"), "{page}");
    assert!(page.contains("data-helper=\"ftp\" data-effect=\"ready\""), "{page}");
    assert!(postern.table().is_some_and(|table| table.contains("ct helper set \"ftp\"")));
}
