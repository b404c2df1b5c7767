//! Reads what the box says: OpenWrt's configuration, firewalld's zones, routes and addresses.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::Said;

/// Where OpenWrt keeps its configuration.
pub const UCI: &str = "/etc/config";
/// The folder beside the door's, of its name and this, where root has copied it for the daemon, which may not read the original.
const HANDED_OVER: &str = "-uci";
/// Where firewalld keeps its zones, as somebody has changed them.
const ZONES: &str = "/etc/firewalld/zones";
/// Longest file that is read, in bytes; what is longer is none of these.
const LONGEST: u64 = 256 * 1024;

/// Where to look.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// Folders of OpenWrt's configuration; the first that is there counts.
    pub uci: Vec<PathBuf>,
    /// Folder of firewalld's zones.
    pub zones: Option<PathBuf>,
    /// `/proc/net`.
    pub net: Option<PathBuf>,
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// All of it.
    pub said: Said,
    /// The folder of OpenWrt's configuration.
    pub folder: Option<PathBuf>,
    /// A file of it that may not be read, or is none.
    pub unreadable: Option<PathBuf>,
}

impl Places {
    /// Of the box that this program runs on. `door`: the daemon's, where root may have left a copy.
    pub fn here(door: Option<&Path>) -> Self {
        let beside = |door: &Path| {
            let mut name = door.file_name()?.to_owned();
            name.push(HANDED_OVER);
            Some(door.with_file_name(name))
        };
        let handed_over = door.and_then(beside);
        Self {
            uci: handed_over.into_iter().chain([UCI.into()]).collect(),
            zones: Some(ZONES.into()),
            net: Some("/proc/net".into()),
        }
    }

    /// Reads all of it. What is not there says nothing.
    pub fn read(&self) -> Found {
        let mut found = Found::default();
        for folder in &self.uci {
            if read_uci(folder, &mut found) {
                found.folder = Some(folder.clone());
                break;
            }
        }
        let zones = self.zones.as_ref().and_then(|folder| fs::read_dir(folder).ok());
        let zones = zones.into_iter().flatten().flatten().map(|entry| entry.path());
        let zones = zones.filter(|path| path.extension().is_some_and(|kind| kind == "xml"));
        found.said.zones = zones.filter_map(|path| text(&path).ok()).collect();
        let kernel = |name| self.net.as_ref().and_then(|net| text(&net.join(name)).ok()).unwrap_or_default();
        found.said.route = kernel("route");
        found.said.addresses = kernel("fib_trie");
        found
    }
}

/// Whether there is a configuration in `folder`.
fn read_uci(folder: &Path, found: &mut Found) -> bool {
    let mut there = false;
    for (at, name) in ["network", "firewall", "dhcp"].into_iter().enumerate() {
        let path = folder.join(name);
        match text(&path) {
            Ok(text) => {
                // A box without the other two is not OpenWrt.
                there |= name != "dhcp";
                found.said.uci[at] = text;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(_) => {
                there = true;
                found.unreadable.get_or_insert(path);
            }
        }
    }
    there
}

fn text(path: &Path) -> std::io::Result<String> {
    // Not a pipe that nobody writes into.
    if !fs::metadata(path)?.is_file() {
        return Err(ErrorKind::InvalidInput.into());
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(ErrorKind::FileTooLarge.into());
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_copy_is_looked_for_beside_the_door() {
        let here = Places::here(Some(Path::new("/var/run/postern")));
        assert_eq!(here.uci, [PathBuf::from("/var/run/postern-uci"), UCI.into()]);
        assert_eq!(Places::here(None).uci, [PathBuf::from(UCI)]);
    }

    #[test]
    fn the_copy_that_root_has_left_goes_before_and_what_is_no_file_is_told() {
        let top = std::env::temp_dir().join(format!("postern-places-{}", std::process::id()));
        let (copy, own) = (top.join("copy"), top.join("own"));
        for folder in [&copy, &own] {
            fs::create_dir_all(folder).unwrap();
        }
        let places = Places { uci: vec![copy.clone(), own.clone()], ..Places::default() };
        assert_eq!(places.read().folder, None);
        fs::write(own.join("dhcp"), "config host").unwrap();
        assert_eq!(places.read().folder, None, "dnsmasq alone is not OpenWrt");
        fs::write(own.join("network"), "config interface lan").unwrap();
        let found = places.read();
        assert_eq!((found.folder, found.said.uci[2].as_str()), (Some(own), "config host"));
        fs::create_dir(copy.join("firewall")).unwrap();
        let found = places.read();
        assert_eq!((found.folder, found.unreadable), (Some(copy.clone()), Some(copy.join("firewall"))));
        fs::remove_dir(copy.join("firewall")).unwrap();
        fs::write(copy.join("firewall"), vec![b'#'; 300_000]).unwrap();
        assert!(places.read().unreadable.is_some(), "too long for a configuration");
        fs::remove_dir_all(top).unwrap();
    }
}
