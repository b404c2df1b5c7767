use super::*;

const CHEAP: Cost = Cost { memory: 1024, passes: 1 };
const PASSWORD: &str = "a password of a backup";
const DOCUMENT: &str = "[internet.pppoe]\npassword = \"s3cret\"\n";

fn sealed() -> String {
    seal(DOCUMENT, PASSWORD, CHEAP).unwrap()
}

fn opened(text: &str) -> Result<String, Error> {
    Sealed::read(text)?.open(PASSWORD)
}

/// With a check that is right: whoever makes a file up can do that.
fn with_check(head_and_body: &str) -> String {
    format!("{head_and_body}check={}\n", check(head_and_body))
}

#[test]
fn a_document_comes_back_with_its_password_only_and_no_two_files_are_alike() {
    let text = sealed();
    assert_eq!(opened(&text).as_deref(), Ok(DOCUMENT));
    assert!(!text.contains("s3cret") && text.starts_with("Postern backup 1\nargon2id m=1024 t=1 salt="));
    assert_ne!(text, sealed());
    let wrong = Sealed::read(&text).unwrap().open("another password");
    assert_eq!(wrong, Err(Error::Password));
}

#[test]
fn a_file_survives_a_browser_and_an_editor() {
    let text = sealed();
    for pasted in [text.replace('\n', "\r\n"), text.replace('\n', " \n\n"), format!("\n{text}\n\n")] {
        assert_eq!(opened(&pasted).as_deref(), Ok(DOCUMENT));
    }
}

#[test]
fn whichever_byte_is_flipped_the_file_is_damaged_or_foreign_and_never_another_document() {
    let text = sealed();
    for at in 0..text.len() {
        for bit in 0..7 {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let flipped = String::from_utf8(bytes).unwrap();
            match opened(&flipped) {
                Err(Error::Damaged) => {}
                Err(Error::Foreign) => assert!(at < MAGIC.len(), "byte {at}"),
                // A line break that has become a blank at the end.
                Ok(document) => assert_eq!((document.as_str(), at), (DOCUMENT, text.len() - 1)),
                Err(other) => panic!("byte {at}, bit {bit}: {other:?}"),
            }
        }
    }
}

#[test]
fn wherever_a_file_is_cut_it_is_damaged_or_foreign() {
    let text = sealed();
    for length in 0..text.len() - 1 {
        let error = opened(&text[..length]).unwrap_err();
        assert!(matches!(error, Error::Damaged | Error::Foreign), "{length}: {error:?}");
    }
}

#[test]
fn a_file_that_was_changed_by_somebody_who_knows_the_format_does_not_open() {
    let text = sealed();
    let (whole, _) = text.split_once("check=").unwrap();
    assert_eq!(opened(&with_check(whole)).as_deref(), Ok(DOCUMENT), "the probe itself");
    let other = whole.replacen("t=1", "t=2", 1);
    assert_eq!(opened(&with_check(&other)), Err(Error::Password), "the head is authenticated");
    let (head, body) = whole.split_at(whole.match_indices('\n').nth(1).unwrap().0 + 1);
    let swapped = format!("{head}{}{}", if body.starts_with('A') { "B" } else { "A" }, &body[1..]);
    assert_eq!(opened(&with_check(&swapped)), Err(Error::Password), "and so is the document");
}

#[test]
fn a_hostile_head_costs_nothing() {
    let salt = Base64::encode_string(&[7; SALT]);
    for (cost, said) in [
        ("m=4194304 t=1", Error::Costly),
        ("m=32768 t=4000000000", Error::Costly),
        ("m=32769 t=1", Error::Costly),
        ("m=0 t=0", Error::Costly),
        ("m=99999999999 t=1", Error::Damaged),
        ("m=-1 t=1", Error::Damaged),
        ("t=1 m=1024", Error::Damaged),
    ] {
        let text = with_check(&format!("Postern backup 1\nargon2id {cost} salt={salt}\nAAAA\n"));
        assert_eq!(Sealed::read(&text).map(|_| ()), Err(said), "{cost}");
    }
    for head in ["argon2id m=1024 t=1 salt=AAAA", "argon2id m=1024 t=1", "scrypt m=1024 t=1 salt=AAAA", ""] {
        let text = with_check(&format!("Postern backup 1\n{head}\n"));
        assert_eq!(Sealed::read(&text).map(|_| ()), Err(Error::Damaged), "{head}");
    }
    let newer = with_check("Postern backup 2\nwho knows\n");
    assert_eq!(Sealed::read(&newer).map(|_| ()), Err(Error::Newer));
    assert_eq!(Sealed::read(&"Postern backup 1\n".repeat(MAX_FILE / 10)).map(|_| ()), Err(Error::TooLong));
    for foreign in ["", "\n\n", "[internet]\n", "\u{0}\u{1}"] {
        assert_eq!(Sealed::read(foreign).map(|_| ()), Err(Error::Foreign));
    }
}
