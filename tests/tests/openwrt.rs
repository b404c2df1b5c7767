//! The package for OpenWrt, as far as it can be tried without OpenWrt: the format that opkg reads, its scripts under busybox's
//! shell, and what they tell procd. That static programs run without a C library is tried by `packaging/try-static`. What procd
//! and ujail make of it is not tried by anybody (packaging/README.md, "Not proved yet").

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::Duration;

use lab::{programs, wait};
use serde_json::Value;

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("postern-openwrt-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("/tmp can be written");
        Self(folder)
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.join(below)
    }

    fn write(&self, below: &str, text: &str) {
        let path = self.path(below);
        std::fs::create_dir_all(path.parent().unwrap_or(&path)).expect("/tmp can be written");
        std::fs::write(path, text).expect("/tmp can be written");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging").join(path)
}

#[track_caller]
fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("Debian has the program");
    let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}:\n{out}{err}");
    out.into_owned()
}

/// The package of the test's own programs.
fn package(out: &Path) -> PathBuf {
    let mut command = Command::new(source("build-ipk"));
    let path = run(command.arg("--bin").arg(programs()).arg("--out").arg(out).arg("x86_64"));
    PathBuf::from(path.lines().last().unwrap_or_default())
}

/// busybox's shell, which is OpenWrt's.
fn ash(script: &str, root: &Path) -> String {
    run(Command::new("busybox")
        .args(["ash", "-eu", "-c", script])
        .env_clear()
        .env("ROOT", root)
        .env("PATH", "/usr/bin:/bin"))
}

#[test]
fn an_ipk_is_what_opkg_reads_and_the_same_bytes_each_time() {
    let folder = Folder::new("format");
    let package = package(&folder.path("one"));
    let again = self::package(&folder.path("two"));
    assert!(std::fs::read(&package).unwrap() == std::fs::read(again).unwrap(), "two of the same differ");
    let tar = |words: &[&str], file: &Path| run(Command::new("tar").args(words).arg(file));
    assert_eq!(tar(&["-tzf"], &package), "./debian-binary\n./control.tar.gz\n./data.tar.gz\n");
    run(Command::new("tar").arg("-xzf").arg(&package).arg("-C").arg(&folder.0));
    assert_eq!(std::fs::read_to_string(folder.path("debian-binary")).unwrap(), "2.0\n");
    let control = folder.path("control.tar.gz");
    assert_eq!(tar(&["-tzf"], &control), "./\n./conffiles\n./control\n./postinst\n./prerm\n");
    let fields = run(Command::new("tar").args(["-xzOf"]).arg(&control).arg("./control"));
    for field in ["Package: postern\n", "Version: 0.1.0-1\n", "Architecture: x86_64\n", "Depends: nftables,"]
    {
        assert!(fields.contains(field), "{field} is not in\n{fields}");
    }
    let data = tar(&["--numeric-owner", "-tvzf"], &folder.path("data.tar.gz"));
    for line in data.lines() {
        let (mode, rest) = line.split_once(' ').unwrap();
        assert!(rest.trim_start().starts_with("0/0 "), "it is root's: {line}");
        assert!(
            mode.starts_with('l') || !mode.contains('s') && !mode[5..].contains('w'),
            "for root alone to write, and no setuid: {line}"
        );
    }
    for name in [
        "usr/sbin/postern\n",
        "usr/sbin/postern-web -> postern\n",
        "etc/init.d/postern\n",
        "lib/upgrade/keep.d/postern\n",
    ] {
        assert!(data.contains(name), "{name} is not in\n{data}");
    }
}

#[test]
fn its_scripts_do_their_work_under_busybox_and_twice_is_once() {
    let folder = Folder::new("scripts");
    for name in ["passwd", "group", "shadow"] {
        folder.write(&format!("etc/{name}"), "root:x:0:0:root:/root:/bin/ash\n");
    }
    let postinst = source("openwrt/control/postinst");
    let twice = format!(
        "IPKG_INSTROOT=$ROOT; export IPKG_INSTROOT; p={}; busybox ash $p; busybox ash $p",
        postinst.display()
    );
    ash(&twice, &folder.0);
    let group = std::fs::read_to_string(folder.path("etc/group")).unwrap();
    assert_eq!(group.matches("\npostern:x:391:").count(), 1, "{group}");
    assert!(group.contains("postern-web:x:392:postern\n"), "the daemon is in the web's group: {group}");
    assert!(!group.contains("391:postern-web"), "never the other way round: {group}");
    for script in [
        "etc/init.d/postern",
        "etc/init.d/postern-deny",
        "etc/uci-defaults/90-postern",
        "usr/libexec/postern/keep",
    ] {
        run(Command::new("busybox").args(["ash", "-n"]).arg(source("openwrt/files").join(script)));
    }
    let makefile = std::fs::read_to_string(source("openwrt/Makefile")).unwrap();
    assert!(makefile.contains(&format!("PKG_VERSION:={}\n", env!("CARGO_PKG_VERSION"))), "{makefile}");
    let prerm = source("openwrt/control/prerm");
    ash(&format!("IPKG_INSTROOT=$ROOT; export IPKG_INSTROOT; busybox ash {}", prerm.display()), &folder.0);
}

/// The hand-built package's prerm is told `upgrade`. The SDK's reads ours without that word, and has opkg's variable.
#[test]
fn only_a_removal_stops_it_and_ends_what_outlives_the_daemon() {
    let folder = Folder::new("removed");
    let prerm = std::fs::read_to_string(source("openwrt/control/prerm")).unwrap();
    let root = folder.0.display().to_string();
    let here =
        prerm.replace("/etc/init.d/", &format!("{root}/init.d/")).replace("/proc/", &format!("{root}/proc/"));
    folder.write("prerm", &here);
    for name in ["postern", "postern-deny"] {
        folder.write(&format!("init.d/{name}"), "#!/bin/sh\necho \"called ${0##*/} $1\"\n");
        run(Command::new("chmod").arg("755").arg(folder.path(&format!("init.d/{name}"))));
    }
    for (pid, uid, comm) in
        [(41, 391, "dnsmasq"), (42, 391, "postern"), (43, 0, "dnsmasq"), (44, 391, "udhcpc")]
    {
        folder.write(
            &format!("proc/{pid}/status"),
            &format!("Name:\t{comm}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n"),
        );
        folder.write(&format!("proc/{pid}/comm"), &format!("{comm}\n"));
    }
    let says = |set: &str, word: &str| {
        let source = format!(
            "( {set} set -- {word}; id() {{ echo 391; }}; kill() {{ echo killed $*; }}; . $ROOT/prerm )"
        );
        ash(&source, &folder.0)
    };
    for (set, word) in
        [("", "upgrade 0.1.0-1"), ("PKG_UPGRADE=1;", "$ROOT/prerm upgrade"), ("PKG_UPGRADE=1;", "")]
    {
        assert_eq!(says(set, word), "", "{set} {word}: an upgrade");
    }
    for (set, word) in [("", "remove"), ("PKG_UPGRADE=0;", "$ROOT/prerm"), ("", "")] {
        let said = says(set, word);
        let lines: Vec<&str> = said.lines().filter(|line| !line.starts_with("postern: removed")).collect();
        let all = [
            "called postern stop",
            "called postern disable",
            "called postern-deny disable",
            "killed 41",
            "killed 44",
        ];
        assert_eq!(lines, all, "{set} {word}: a removal");
    }
}

/// What the init script tells procd, a line for each word of procd's own. `ujail` is the program that it looks for.
fn told(ujail: &str) -> Output {
    let script = format!(
        "for f in procd_open_instance procd_set_param procd_close_instance procd_add_jail procd_add_jail_mount \
         procd_add_jail_mount_rw; do eval \"$f() {{ echo $f \\\"\\$@\\\"; }}\"; done; \
         config_load() {{ :; }}; config_get_bool() {{ eval \"$1=1\"; }}; mkdir() {{ :; }}; chown() {{ :; }}; chmod() {{ :; }}; \
         modprobe() {{ :; }}; logger() {{ echo \"$@\" >&2; }}; UJAIL={ujail}; . {}; start_service",
        source("openwrt/files/etc/init.d/postern").display()
    );
    let mut command = Command::new("busybox");
    command.args(["ash", "-eu", "-c", &script]).env_clear().env("PATH", "/usr/bin:/bin");
    command.output().expect("Debian has busybox")
}

#[test]
fn the_daemon_is_handed_what_uci_says_without_its_secrets_and_anew_when_it_is_saved() {
    let folder = Folder::new("handed-over");
    folder.write(
        "config/network",
        "config interface 'wan'\n\toption proto 'pppoe'\n\toption username 'me'\n\toption password 'hush'\n\
         config interface 'wg0'\n\toption private_key hush\n\tlist addresses '10.0.0.1/24'\n\
         config wireguard_wg0\n\toption preshared_key \"hush\"\n\toption  'pincode' 'hush'\n\
         config x\n\toption password2 hush\n\toption token_secret 'hush'\n\toption note 'two\nlines, hush'\n\
         \toption metric 5; option psk hush # hush\n\toption a\\\nb hush\n\toption type \"it's\"\n",
    );
    folder.write(
        "config/firewall",
        "config redirect\n\toption src 'wan'\n\toption src_ip '203.0.113.9'\n\toption src_dport '22'\n",
    );
    folder.write("config/dhcp", "config host\n\toption name 'key to the house'\n\toption ip '192.168.1.9'\n");
    let script = source("openwrt/files/etc/init.d/postern");
    let said = ash(
        &format!(
            "UCI=$ROOT/config; HANDED=$ROOT/handed; chown() {{ echo chown $*; }}; procd_add_config_trigger() {{ echo trigger $*; }}; \
             . {}; hand_over; hand_over; service_triggers; cat $HANDED/*; ls -ld $HANDED $HANDED/network",
            script.display()
        ),
        &folder.0,
    );
    assert!(!said.contains("hush") && !said.contains("'me'"), "a secret is handed over:\n{said}");
    for kept in [
        "'option' 'proto' 'pppoe'",
        "'list' 'addresses' 'hidden'",
        "'option' 'name' 'key to the house'",
        "'config' 'wireguard_wg0'",
        "'option' 'metric' '5'; 'option' 'psk' 'hidden'\n",
        "'option' 'type' 'it'\\''s'",
        // What narrows a forward is seen to be there: else it would be open to more.
        "'option' 'src_ip' 'hidden'",
        "'option' 'src_dport' '22'",
        "drwxr-x---",
        "-rw-r-----",
    ] {
        assert!(said.contains(kept), "{kept}:\n{said}");
    }
    let groups = said.lines().filter(|line| line.starts_with("chown root:postern "));
    assert_eq!(groups.count(), 8, "root's, for the daemon's group to read:\n{said}");
    for name in ["network", "firewall", "dhcp"] {
        let wanted = format!("trigger config.change {name} /etc/init.d/postern hand_over");
        assert!(said.lines().any(|line| line == wanted), "{wanted}:\n{said}");
    }
}

#[test]
fn without_ujail_nothing_is_started_and_the_package_asks_for_it() {
    let told = told("/nonexistent/ujail");
    let said = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(!told.status.success() && said.contains("procd-ujail"), "{said}");
    assert_eq!(String::from_utf8_lossy(&told.stdout), "", "procd is told nothing");
    for (file, wanted) in [("control/control", ", procd-ujail\n"), ("Makefile", " +procd-ujail\n")] {
        let text = std::fs::read_to_string(source("openwrt").join(file)).unwrap();
        assert!(text.contains(wanted), "{file} does not depend on it");
    }
}

#[test]
fn procd_is_told_a_user_a_jail_and_capabilities_for_each_process() {
    let told = told("/bin/sh");
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let told: Vec<String> = String::from_utf8_lossy(&told.stdout).lines().map(str::to_owned).collect();
    let instance = |name: &str| -> Vec<&String> {
        let begins = format!("procd_open_instance {name}");
        let from = told.iter().skip_while(|line| **line != begins);
        from.take_while(|line| *line != "procd_close_instance").collect()
    };
    for (name, user) in [("daemon", "postern"), ("web", "postern-web")] {
        let lines = instance(name);
        for wanted in [
            format!("procd_set_param user {user}"),
            format!("procd_set_param group {user}"),
            "procd_set_param no_new_privs 1".into(),
            "procd_set_param respawn 3600 5 0".into(),
            format!("procd_set_param capabilities /etc/capabilities/{user}.json"),
            // Without a jail procd drops every capability and looks at no file of them.
            format!("procd_add_jail {user}"),
        ] {
            assert!(lines.iter().any(|line| **line == wanted), "{name}: {wanted} is not in {lines:?}");
        }
    }
    // A mount would give the daemon a process namespace, with which its dnsmasq would end; and ujail starts nothing that has
    // a list of calls and no mounts.
    let daemon = instance("daemon");
    assert!(!daemon.iter().any(|line| line.contains("mount") || line.contains("seccomp")), "{daemon:?}");
    let command = "procd_set_param command /usr/libexec/postern/keep /var/run/postern/stopped /usr/sbin/postern daemon \
                   --state /etc/postern --door /var/run/postern";
    assert!(daemon.iter().any(|line| **line == command), "{daemon:?}");
    let web = instance("web");
    for wanted in [
        "procd_set_param seccomp /etc/seccomp/postern-web.json",
        "procd_add_jail_mount /usr/sbin/postern-web",
        "procd_add_jail_mount_rw /var/run/postern",
    ] {
        assert!(web.iter().any(|line| **line == wanted), "{wanted} is not in {web:?}");
    }
    let opens = told.iter().filter(|line| line.starts_with("procd_open_instance")).count();
    let jails = told.iter().filter(|line| line.starts_with("procd_add_jail postern")).count();
    assert_eq!(opens, jails, "a process without a jail: {told:?}");
    let json = |path: &str| -> Value {
        serde_json::from_str(&std::fs::read_to_string(source("openwrt/files").join(path)).unwrap()).unwrap()
    };
    let daemon = json("etc/capabilities/postern.json");
    for set in ["bounding", "effective", "ambient", "permitted", "inheritable"] {
        assert_eq!(daemon[set], serde_json::json!(["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_NET_BIND_SERVICE"]));
        assert_eq!(json("etc/capabilities/postern-web.json")[set], serde_json::json!([]));
    }
    json("usr/share/luci/menu.d/luci-app-postern.json");
    json("usr/share/rpcd/acl.d/luci-app-postern.json");
}

#[test]
fn the_pages_may_call_what_they_need_and_what_confines_them() {
    let path = source("openwrt/files/etc/seccomp/postern-web.json");
    let policy: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    // The pages end themselves for what is hostile. A list that ends them for what it does not know would end them at their
    // start, by the next call that a library learns.
    assert_eq!(policy["defaultAction"], "SCMP_ACT_ERRNO");
    let names = policy["syscalls"][0]["names"].as_array().unwrap();
    let calls = std::fs::read_to_string(source("../web-ui/src/confine/calls.rs")).unwrap();
    let (needed, rest) = calls.split_once("const HOSTILE").unwrap();
    let (hostile, filters) = rest.split_once("fn hostile").unwrap();
    let (filters, _) = filters.split_once("mod tests").unwrap();
    let named = |text: &str| -> Vec<String> {
        let name = |part: &str| {
            part.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap().to_owned()
        };
        text.split("SYS_").skip(1).map(name).collect()
    };
    let confine =
        ["landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self", "seccomp", "prctl"];
    let wanted = [named(needed), named(filters), confine.map(str::to_owned).to_vec()].concat();
    assert!(wanted.len() > 45, "the probe has read calls.rs: {wanted:?}");
    for call in wanted {
        assert!(names.contains(&call.as_str().into()), "the pages may not {call}");
    }
    // Before they confine themselves they are started, and their library may start threads.
    let begin = ["execve", "clone", "clone3"];
    for call in named(hostile) {
        let may = names.contains(&call.as_str().into());
        assert_eq!(may, begin.contains(&call.as_str()), "the pages may {call}: {may}");
    }
}

/// `keep` of the package under busybox's shell, with a program in it.
fn keep(folder: &Folder, script: &str) -> Child {
    let mut command = Command::new("busybox");
    command.args(["ash"]).arg(source("openwrt/files/usr/libexec/postern/keep")).arg(folder.path("stopped"));
    command.args(["sh", "-c", script, "program"]).arg(folder.path("ready"));
    command.spawn().expect("Debian has busybox")
}

#[track_caller]
fn comes(what: &Path) {
    let there = wait::until(Duration::from_secs(20), || what.exists().then_some(()));
    assert!(there.is_some(), "{} does not come", what.display());
}

#[track_caller]
fn told_to_end(child: &mut Child) {
    run(Command::new("kill").arg(child.id().to_string()));
    let ended = wait::until(Duration::from_secs(20), || child.try_wait().expect("it can be asked"));
    assert!(ended.is_some(), "it does not end");
}

#[test]
fn what_was_stopped_stays_stopped_and_every_other_end_is_handed_to_procd() {
    let folder = Folder::new("keep");
    let mark = folder.path("stopped");
    folder.write("stopped", "of the last time");
    let again = keep(&folder, "exit 75").wait().unwrap();
    assert_eq!(again.code(), Some(75));
    assert!(!mark.exists(), "it is started, so it is not stopped");

    let mut stopped = keep(&folder, "exit 0");
    comes(&mark);
    assert_eq!(stopped.try_wait().unwrap(), None, "it stays, or procd would start it again");
    told_to_end(&mut stopped);

    // procd's word reaches the program, and its end is no `postern stop`.
    let mut ended = keep(&folder, "trap ': >$1.heard; exit 0' TERM; : >$1; while :; do sleep 0.1; done");
    comes(&folder.path("ready"));
    told_to_end(&mut ended);
    assert!(folder.path("ready.heard").exists() && !mark.exists());
}
