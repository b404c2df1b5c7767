//! Who the two processes are, and what each of them cannot do.

use lab::tool::intrude::ATTEMPTS;
use lab::{Lab, PASSWORD};

/// `CAP_NET_BIND_SERVICE`, `CAP_NET_ADMIN`, `CAP_NET_RAW`.
const DAEMON: u64 = 1 << 10 | 1 << 12 | 1 << 13;

fn uid(name: &str) -> String {
    let users = std::fs::read_to_string("/etc/passwd").expect("a system has users");
    let line = users.lines().find(|line| line.split(':').next() == Some(name));
    let line = line.unwrap_or_else(|| panic!("there is no user {name}: tests/run makes it"));
    line.split(':').nth(2).unwrap_or_default().to_owned()
}

fn set(hex: &str) -> u64 {
    u64::from_str_radix(hex, 16).unwrap_or_else(|_| panic!("`{hex}` should be a capability set"))
}

#[test]
fn the_daemon_is_not_root_and_has_three_capabilities_and_the_web_process_none() {
    let lab = Lab::new();
    let mut postern = lab.postern_router();
    postern.start_web(&lab);
    let (daemon, web) = (uid("postern"), uid("postern-web"));
    assert_eq!(postern.daemon_status("Uid"), [daemon.as_str(); 4].join(" "));
    assert_eq!(postern.web_status("Uid"), [web.as_str(); 4].join(" "));
    for field in ["CapEff", "CapPrm", "CapBnd"] {
        assert_eq!(set(&postern.daemon_status(field)), DAEMON, "the daemon's {field}");
        assert_eq!(set(&postern.web_status(field)), 0, "the web process's {field}");
    }
    assert_eq!(postern.daemon_status("NoNewPrivs"), "1");
    assert_eq!(postern.web_status("NoNewPrivs"), "1");
}

#[test]
fn whoever_takes_over_the_web_process_finds_no_program_no_file_and_no_network() {
    let lab = Lab::new();
    let router = lab.router();
    // What ends the process leaves no word; the rest is refused.
    let deadly = ["program", "child", "thread", "root"];
    for attempt in ATTEMPTS {
        let free = router.run(&["postern-lab", "intrude", attempt]);
        assert_eq!(free.out.trim(), "\"done\"", "{attempt} proves nothing: {}", free.err);
        let confined = router.run(&["postern-lab", "intrude", "--confined", attempt]);
        if deadly.contains(&attempt) {
            assert_eq!((confined.code, confined.out.trim()), (-1, ""), "{attempt}: {}", confined.err);
        } else {
            assert!(
                ["\"EPERM\"", "\"EACCES\""].contains(&confined.out.trim()),
                "{attempt}: {}",
                confined.out
            );
        }
    }
    // And the real one did the same to itself: both filters, on its only thread, before its first answer.
    let mut postern = lab.postern_router();
    postern.start_web(&lab);
    let fields = ["Seccomp", "Seccomp_filters", "Threads"].map(|field| postern.web_status(field));
    assert_eq!(fields, ["2", "2", "1"]);
    assert!(postern.web_said().contains("confined: no program"), "{}", postern.web_said());
}

#[test]
fn the_web_user_can_open_neither_the_admin_door_nor_the_store_nor_read_the_daemon() {
    let lab = Lab::new();
    let postern = lab.postern();
    postern.claim();
    let router = lab.router();
    let as_web = |words: &[&str]| {
        let mut all = vec![
            "setpriv",
            "--reuid",
            "postern-web",
            "--regid",
            "postern-web",
            "--init-groups",
            "--inh-caps=-all",
        ];
        all.extend_from_slice(words);
        router.run(&all)
    };
    let knocked = as_web(&["curl", "-sS", "--unix-socket", "/run/postern/door/admin.sock", "http://x/"]);
    assert!(
        !knocked.ok() && knocked.err.contains("connect"),
        "the admin door opened: {}{}",
        knocked.out,
        knocked.err
    );
    // The same program gets through the other door (and then says nothing the daemon understands).
    let knocked =
        as_web(&["curl", "-sS", "-m", "5", "--unix-socket", "/run/postern/door/web.sock", "http://x/"]);
    assert!(
        !knocked.err.contains("to connect") && !knocked.err.contains("onnection refused"),
        "{}",
        knocked.err
    );
    assert!(!as_web(&["ls", "/run/postern/state"]).ok(), "the store's folder can be listed");
    assert!(
        as_web(&["ls", "/run/postern/door"]).ok(),
        "the door's folder cannot be listed, so the probe proves nothing"
    );
}

#[test]
fn somebody_without_rights_gets_no_answer_at_either_door() {
    let lab = Lab::new();
    let _postern = lab.postern();
    for socket in ["web.sock", "admin.sock"] {
        let path = format!("/run/postern/door/{socket}");
        let as_nobody = [
            "setpriv",
            "--reuid",
            "nobody",
            "--regid",
            "nogroup",
            "--clear-groups",
            "curl",
            "-sS",
            "--unix-socket",
        ];
        let words = [&as_nobody[..], &[&path, "http://x/"]].concat();
        let knocked = lab.router().run(&words);
        assert!(!knocked.ok() && knocked.err.contains("connect"), "{socket}: {}{}", knocked.out, knocked.err);
    }
}

#[test]
fn no_secret_is_written_to_a_log_or_shown_in_a_command_line() {
    let lab = Lab::new();
    let mut postern = lab.postern_router();
    postern.start_web(&lab);
    let mut owner = postern.visitor(&lab, "laptop1");
    let form = owner.form("/login", "password").fill("password", PASSWORD);
    assert_eq!(owner.submit("/login", &form).status, 303);
    let said = postern.daemon_said() + &postern.web_said();
    assert!(!said.contains(PASSWORD), "the password is in a log");
    for (_, value) in owner.cookies() {
        assert!(!said.contains(value.as_str()), "a login cookie is in a log");
    }
}
