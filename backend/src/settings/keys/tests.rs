use super::*;
use crate::settings::tests::filled;

#[test]
fn every_value_reads_back_as_it_was_written() {
    for original in [Settings::default(), filled()] {
        for key in ALL.iter().filter(|key| key.kind != Kind::Records) {
            let mut settings = original.clone();
            let words = key.get(&original);
            assert_eq!(key.set(&mut settings, &words), Ok(()), "{} = {words}", key.name);
            assert_eq!(settings, original, "{} = {words}", key.name);
        }
    }
}

#[test]
fn every_value_of_one_document_can_be_carried_to_another() {
    let (from, mut to) = (filled(), Settings::default());
    for key in ALL.iter().filter(|key| !matches!(key.kind, Kind::Records | Kind::Secret)) {
        set(&mut to, key.name, &key.get(&from)).unwrap();
    }
    let left: Vec<_> = difference(&from, &to).into_iter().map(|(key, ..)| key).collect();
    let named = |key: &String| key.split('.').next().unwrap_or_default().to_owned();
    let mut left: Vec<String> = left.iter().map(named).collect();
    left.dedup();
    assert_eq!(left, ["internet", "devices", "forwards"]);
}

#[test]
fn the_table_names_every_field_of_the_document() {
    fn leaves(value: &toml::Value, path: &str, found: &mut Vec<String>) {
        match value {
            toml::Value::Table(table) => {
                for (name, value) in table {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    leaves(value, &path, found);
                }
            }
            _ => found.push(path.to_owned()),
        }
    }
    let mut fields = Vec::new();
    leaves(&toml::Value::try_from(filled()).unwrap(), "", &mut fields);
    let mut names: Vec<&str> = ALL.iter().map(|key| key.name).collect();
    fields.sort_unstable();
    names.sort_unstable();
    assert_eq!(fields, names);
}

#[test]
fn nonsense_is_refused_with_a_sentence_and_changes_nothing() {
    const NONSENSE: &[&str] = &[
        "\0",
        "\n",
        "a\nb",
        "TRUE",
        "yes",
        "1 2",
        "-1",
        "0",
        "65536",
        "99999999999999999999",
        "0x50",
        "1,,2",
        ",",
        "1723,",
        "1723,0",
        "17 23",
        "unset,1",
        "\"",
        "a\"b",
        "{ }",
        "; drop",
        "eth0; flush ruleset",
        "$(reboot)",
        "`id`",
        "../../etc/passwd",
        "eth0\u{0}",
        "äöü",
        "🦀🦀🦀",
        "192.168.1",
        "192.168.1.1/33",
        "192.168.1.1/0",
        "1.2.3.4.5/24",
        "::1/64",
        "aa:bb:cc:dd:ee",
        "ff:ff:ff:ff:ff:ff",
        "00:00:00:00:00:00",
        "zz:zz:zz:zz:zz:zz",
        "everyone,aa:bb:cc:dd:ee:ff",
        "on until",
        "off until",
        "off until never",
        "off until 2026-02-30T00:00:00Z",
        "1.2.3.4 until",
        "12",
        "12x",
        "m",
        "ä",
        "99999999999d",
        "-",
        "a-",
        "-a",
        "a..b",
        "//",
        " ",
        "\t",
    ];
    let long = "x".repeat(70_000);
    let many = vec!["2000"; 20_000].join(",");
    let mut refused = 0;
    for original in [Settings::default(), filled()] {
        for key in ALL {
            for value in NONSENSE.iter().copied().chain([long.as_str(), many.as_str()]) {
                let mut settings = original.clone();
                if let Err(error) = key.set(&mut settings, value) {
                    refused += 1;
                    assert_eq!(settings, original, "{} = {value:?}", key.name);
                    assert_eq!(error.key, key.name);
                    assert!(error.message.ends_with('.') && error.message.len() < 160, "{}", error.message);
                } else {
                    let words = key.get(&settings);
                    assert!(!words.contains(['"', '\n', '{', '\\', '\0']), "{} = {words:?}", key.name);
                }
            }
        }
    }
    assert!(refused > 4_000, "only {refused} were refused");
}

#[test]
fn an_unknown_key_is_answered_with_the_one_that_was_meant() {
    let message = |name: &str| set(&mut Settings::default(), name, "true").unwrap_err().message;
    assert_eq!(
        message("passthrough.ptpp.enabled"),
        "There is no setting named passthrough.ptpp.enabled. Did you mean passthrough.pptp.enabled?"
    );
    assert!(message("pptp.ports").ends_with("Did you mean passthrough.pptp.ports?"));
    assert!(
        message("passthrough.l2tp")
            .ends_with("is a group of settings: passthrough.l2tp.enabled, passthrough.l2tp.ports.")
    );
    assert_eq!(message("quite something else"), "There is no setting named quite something else.");
    assert!(message(&"x".repeat(10_000)).len() < 120);
    for strange in ["", ".", "..", "\0", "🦀.🦀"] {
        assert!(message(strange).starts_with("There is no setting named"));
    }
}

#[test]
fn a_group_reads_as_all_its_keys() {
    let settings = Settings::default();
    assert_eq!(
        below(&settings, "passthrough.pptp").unwrap(),
        [("passthrough.pptp.enabled", "false".into()), ("passthrough.pptp.ports", "1723".into())]
    );
    assert_eq!(below(&settings, "role").unwrap(), [("role", "unset".into())]);
    assert_eq!(below(&settings, "").unwrap().len(), ALL.len());
    assert!(below(&settings, "pass").is_err());
}

#[test]
fn absent_values_have_words_and_unset_clears_them() {
    let mut settings = filled();
    for key in ALL.iter().filter(|key| key.kind != Kind::Records) {
        let Some(absent) = key.absent else { continue };
        key.set(&mut settings, UNSET).unwrap();
        assert_eq!(key.get(&settings), absent);
    }
    assert_eq!(settings.internet.mac, None);
    let refused = set(&mut settings, "passthrough.devices", "unset").unwrap_err();
    assert!(refused.message.contains("everyone"), "{}", refused.message);
}

#[test]
fn of_a_list_the_word_that_is_wrong_is_named() {
    let message = |key: &str, value: &str| set(&mut Settings::default(), key, value).unwrap_err().message;
    let devices = "passthrough.devices";
    let said = message(devices, "02:00:00:00:01:65, 02:00:00:00:01:6g,02:00:00:00:01:66");
    assert!(said.starts_with("\u{201c}02:00:00:00:01:6g\u{201d}: A MAC address is six pairs"), "{said}");
    assert!(message(devices, &"x".repeat(10_000)).len() < 160);
    assert!(!message(devices, "a\u{1b}[2Jb").contains('\u{1b}'));
    assert!(message(devices, "02:00:00:00:01:65,,").starts_with("A MAC address"), "no word, no name");
    let ports = |value: &str| message("passthrough.l2tp.ports", value);
    assert!(ports("1701,x1").starts_with("\u{201c}x1\u{201d}: "));
    assert!(ports("1701,70000").starts_with("Port 70000 is"), "the sentence names it already");
}

#[test]
fn a_secret_is_never_shown() {
    let (mut settings, before) = (filled(), filled());
    let key = "internet.pppoe.password";
    assert_eq!(get(&settings, key).unwrap(), Secret::MASK);
    set(&mut settings, key, Secret::MASK).unwrap();
    assert_eq!(settings, before);
    set(&mut settings, key, "another").unwrap();
    assert_eq!(
        difference(&before, &settings),
        [(key.to_owned(), Secret::MASK.to_owned(), Secret::MASK.to_owned())]
    );
    assert!(set(&mut Settings::default(), key, Secret::MASK).is_err(), "there is nothing to keep");
}

#[test]
fn records_are_read_as_sentences() {
    assert_eq!(
        get(&filled(), "devices").unwrap(),
        "Laptop 3c:52:82:1a:0b:7f 10.20.0.20; Phone 3c:52:82:1a:0b:80"
    );
    assert_eq!(
        get(&filled(), "forwards").unwrap(),
        "Office pptp to 10.20.0.20; Game udp 5000-5010 to 10.20.0.21 (off)"
    );
    assert_eq!(get(&Settings::default(), "forwards").unwrap(), "none");
}

#[test]
fn of_the_forwards_each_that_differs_is_named_and_taken_back_alone() {
    let with = |all: &[(&str, &str)]| {
        let mut settings = Settings::default();
        for (name, words) in all {
            set(&mut settings, &format!("forwards.{name}"), words).unwrap();
        }
        settings
    };
    let (web, game) = (("web", "tcp 80 to 192.168.1.20"), ("game", "udp 5000 to 192.168.1.21"));
    let (before, after) = (with(&[web]), with(&[web, game]));
    let row = ("forwards.game".to_owned(), "unset".to_owned(), game.1.to_owned());
    assert_eq!(difference(&before, &after), [row]);
    // Another one was added since: it stays.
    let mut now = with(&[web, game, ("vpn", "sstp to 192.168.1.22")]);
    take_back("forwards.game", &before, &after, &mut now).unwrap();
    assert_eq!(now, with(&[web, ("vpn", "sstp to 192.168.1.22")]));
    let mut changed = with(&[("game", "udp 5001 to 192.168.1.21")]);
    let wrong = take_back("forwards.game", &before, &after, &mut changed).unwrap_err();
    assert!(wrong.key == "forwards.game" && wrong.message.contains("udp 5001"), "{wrong:?}");
    let moved = difference(&with(&[web, game]), &with(&[game, web]));
    assert_eq!((moved.len(), moved[0].0.as_str()), (1, "forwards"), "in their order alone");
    let many: Vec<(String, String)> =
        (1..=20).map(|n| (format!("f{n}"), format!("tcp {n} to 192.168.1.20"))).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(n, w)| (n.as_str(), w.as_str())).collect();
    assert_eq!(difference(&before, &with(&many)).len(), 1, "of many, the list");
}
