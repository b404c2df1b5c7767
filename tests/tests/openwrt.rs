//! The package for OpenWrt, as far as it can be tried without OpenWrt: the format that opkg reads, its scripts under busybox's
//! shell, and what they tell procd. That static programs run without a C library is tried by `packaging/try-static`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lab::programs;
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
            !mode.contains('s') && !mode[5..].contains('w'),
            "for root alone to write, and no setuid: {line}"
        );
    }
    for name in [
        "usr/sbin/postern\n",
        "usr/sbin/postern-web\n",
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
    for script in ["etc/init.d/postern", "etc/init.d/postern-deny", "etc/uci-defaults/90-postern"] {
        run(Command::new("busybox").args(["ash", "-n"]).arg(source("openwrt/files").join(script)));
    }
    let prerm = source("openwrt/control/prerm");
    ash(&format!("IPKG_INSTROOT=$ROOT; export IPKG_INSTROOT; busybox ash {}", prerm.display()), &folder.0);
}

/// What the init script tells procd, a line for each word of procd's own.
fn told() -> Vec<String> {
    let script = format!(
        "for f in procd_open_instance procd_set_param procd_close_instance procd_add_jail procd_add_jail_mount \
         procd_add_jail_mount_rw; do eval \"$f() {{ echo $f \\\"\\$@\\\"; }}\"; done; \
         config_load() {{ :; }}; config_get_bool() {{ eval \"$1=1\"; }}; mkdir() {{ :; }}; chown() {{ :; }}; chmod() {{ :; }}; \
         modprobe() {{ :; }}; . {}; start_service",
        source("openwrt/files/etc/init.d/postern").display()
    );
    ash(&script, Path::new("/nonexistent")).lines().map(str::to_owned).collect()
}

#[test]
fn procd_is_told_a_user_capabilities_and_calls_for_each_process() {
    let told = told();
    let instance = |name: &str| -> Vec<&String> {
        let begins = format!("procd_open_instance {name}");
        let from = told.iter().skip_while(|line| **line != begins);
        from.take_while(|line| *line != "procd_close_instance").collect()
    };
    for (name, user) in [("daemon", "postern"), ("web", "postern-web")] {
        let lines = instance(name);
        for wanted in [
            format!("procd_set_param user {user}"),
            "procd_set_param no_new_privs 1".into(),
            "procd_set_param respawn 3600 5 0".into(),
            format!("procd_set_param capabilities /etc/capabilities/{user}.json"),
            format!("procd_set_param seccomp /etc/seccomp/{user}.json"),
        ] {
            assert!(lines.iter().any(|line| **line == wanted), "{name}: {wanted} is not in {lines:?}");
        }
    }
    let json = |path: &str| -> Value {
        serde_json::from_str(&std::fs::read_to_string(source("openwrt/files").join(path)).unwrap()).unwrap()
    };
    let daemon = json("etc/capabilities/postern.json");
    for set in ["bounding", "effective", "ambient", "permitted", "inheritable"] {
        assert_eq!(daemon[set], serde_json::json!(["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_NET_BIND_SERVICE"]));
        assert_eq!(json("etc/capabilities/postern-web.json")[set], serde_json::json!([]));
    }
    for name in ["postern", "postern-web"] {
        let policy = json(&format!("etc/seccomp/{name}.json"));
        let names = policy["syscalls"][0]["names"].as_array().unwrap();
        for forbidden in [
            "ptrace",
            "bpf",
            "mount",
            "init_module",
            "finit_module",
            "keyctl",
            "kexec_load",
            "reboot",
            "pivot_root",
        ] {
            assert!(!names.contains(&forbidden.into()), "{name} may {forbidden}");
        }
    }
    json("usr/share/luci/menu.d/luci-app-postern.json");
    json("usr/share/rpcd/acl.d/luci-app-postern.json");
}
