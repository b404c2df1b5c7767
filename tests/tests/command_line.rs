//! The command line as scripts use it: exit codes, JSON, history, export and import, a forgotten password.

use lab::{Lab, PASSWORD, Postern};

const REFUSED: i32 = 1;
const USAGE: i32 = 2;

#[track_caller]
fn fails(postern: &Postern, words: &[&str], code: i32, reason: &str) {
    let output = postern.cli(words);
    assert_eq!(output.code, code, "{words:?}: {output:?}");
    assert!(output.err.contains(reason), "{words:?} does not say `{reason}`: {}", output.err);
    assert_eq!(output.out, "", "{words:?}: what failed prints nothing");
}

#[test]
fn what_is_wrong_is_said_on_standard_error_with_its_exit_code() {
    let lab = Lab::new();
    let mut postern = lab.postern_router();
    let before = postern.json(&["get"]);
    fails(&postern, &["set", "passthrough.pptp.ports=70000"], REFUSED, "Port 70000 is too high");
    fails(&postern, &["set", "passthrough.pptp.port=1723"], REFUSED, "Did you mean passthrough.pptp.ports?");
    fails(&postern, &["set", "passthrough.devices=02:00:00:00:00"], REFUSED, "MAC address");
    fails(&postern, &["get", "no.such.key"], REFUSED, "no.such.key");
    fails(&postern, &["undo", "99"], REFUSED, "99");
    fails(&postern, &["undo", "many"], USAGE, "many");
    fails(&postern, &["frobnicate"], USAGE, "frobnicate");
    fails(&postern, &["set"], USAGE, "name what to set");
    fails(&postern, &["claim-code"], REFUSED, "has an owner");
    assert_eq!(postern.json(&["get"]), before);
    assert_eq!(postern.ok(&["get", "passthrough.pptp.ports"]), "1723\n");
    assert_eq!(postern.json(&["get", "passthrough.pptp"])["ports"], serde_json::json!([1723]));
    postern.stop();
    fails(&postern, &["status"], REFUSED, "daemon is not running");
}

#[test]
fn any_kept_change_is_undone_alone_and_any_revision_can_be_gone_back_to() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    postern.ok(&["set", "passthrough.pptp.enabled=true", "--comment", "for the old office"]);
    postern.set(&["passthrough.l2tp.enabled=false"]);
    assert!(postern.ok(&["undo", "2"]).contains("PPTP passthrough is off."));
    let now = postern.json(&["get", "passthrough"]);
    assert_eq!((&now["pptp"]["enabled"], &now["l2tp"]["enabled"]), (&false.into(), &false.into()));
    assert!(postern.table().is_some_and(|rules| !rules.contains("ct helper set")), "the kernel follows");
    postern.ok(&["undo", "--to", "2"]);
    let now = postern.json(&["get", "passthrough"]);
    assert_eq!((&now["pptp"]["enabled"], &now["l2tp"]["enabled"]), (&true.into(), &true.into()));
    assert!(postern.table().is_some_and(|rules| rules.contains("ct helper set \"pptp\"")));
    postern.set(&["passthrough.l2tp.enabled=false"]);
    fails(&postern, &["undo", "5"], REFUSED, "changed again since");
    let history = postern.ok(&["history"]);
    for part in
        ["for the old office", "undo of revision 2", "back to revision 2", "l2tp.enabled: true → false"]
    {
        assert!(history.contains(part), "{part} is not in\n{history}");
    }
}

#[test]
fn an_export_is_imported_again_whole_or_not_at_all() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    let exported = postern.ok(&["export"]);
    let import = |text: &str, more: &[&str]| postern.cli_with(&[&["import", "-"], more].concat(), text);
    assert_eq!(import(&exported, &["--dry-run"]).out, "Nothing would change.\n");
    let wanted = exported.replace("ports = [1723]", "ports = [1723, 1823]");
    assert_ne!(wanted, exported);
    let dry = import(&wanted, &["--dry-run"]);
    assert_eq!(dry.out, "passthrough.pptp.ports: 1723 → 1723,1823\n");
    assert_eq!(postern.ok(&["export"]), exported, "dry is dry");
    for (text, reason) in [
        (format!("{wanted}\n[no_such_section]\nx = 1\n"), "no_such_section"),
        (wanted.replace("[1723, 1823]", "[0]"), "Port 0"),
        (wanted.replace("role = \"router\"", "role = "), "Line 1"),
        ("x".repeat(140_000), "at most"),
    ] {
        let refused = import(&text, &[]);
        assert!(refused.code == REFUSED && refused.err.contains(reason), "{reason}: {refused:?}");
        assert_eq!(postern.ok(&["export"]), exported);
    }
    assert!(import(&wanted, &[]).ok());
    assert_eq!(postern.ok(&["get", "passthrough.pptp.ports"]), "1723,1823\n");
    assert_eq!(import(&wanted, &["--dry-run"]).out, "Nothing would change.\n", "it is what was asked for");
}

#[test]
fn root_sets_a_forgotten_password_and_every_login_ends() {
    let lab = Lab::new();
    let mut postern = lab.postern_router();
    postern.start_web(&lab);
    let mut owner = postern.visitor(&lab, "laptop1");
    let login = |visitor: &mut lab::Visitor, password: &str| {
        let form = visitor.form("/login", "password").fill("password", password);
        visitor.submit("/login", &form).status
    };
    assert_eq!(login(&mut owner, PASSWORD), 303);
    assert_eq!(owner.get("/").status, 200);
    let short = postern.cli_with(&["password", "--password-stdin"], "short");
    assert!(short.code == REFUSED && short.err.contains("at least 10"), "{short:?}");
    assert_eq!(owner.get("/").status, 200, "nothing was changed");
    assert!(postern.cli_with(&["password", "--password-stdin"], "a new one for the owner\n").ok());
    assert_eq!(owner.get("/").status, 303, "the old login has ended");
    assert_ne!(login(&mut postern.visitor(&lab, "laptop2"), PASSWORD), 303, "the old password");
    assert_eq!(login(&mut owner, "a new one for the owner"), 303);
}
