use axum::http::StatusCode;
use postern::door::messages::{Assignment, RefusalKind};

use super::HERE;
use crate::testing::browser::Browser;
use crate::testing::fake::refusal;

fn set(key: &str, value: &str) -> Assignment {
    Assignment { key: key.into(), value: value.into() }
}

#[tokio::test]
async fn a_forward_is_added_by_preset_edited_switched_and_removed() {
    let mut browser = Browser::logged_in().await;
    browser.open(HERE).await;
    assert!(browser.body.contains("No port is forwarded."));
    let form = browser.form("what").set("name", "Office").set("what", "ikev2").set("to", "192.168.1.20");
    browser.send(form).await;
    let words = "ikev2 to 192.168.1.20";
    assert_eq!(browser.daemon.state().changes, [(Some(0), vec![set("forwards.Office", words)])]);
    assert_eq!((browser.path.as_str(), browser.status), (HERE, StatusCode::OK));
    assert!(browser.body.contains("IKEv2 or IPsec server") && browser.body.contains("of its own"));
    browser.open("/security/forwards?edit=Office").await;
    let form = browser.form("what").set("name", "Game").set("what", "udp").set("port", "5000-5010");
    browser.send(form).await;
    let renamed =
        vec![set("forwards.Office", "unset"), set("forwards.Game", "udp 5000-5010 to 192.168.1.20")];
    assert_eq!(browser.daemon.state().changes[1], (Some(1), renamed));
    browser.send(browser.form_to("/security/forwards/switch")).await;
    let off = set("forwards.Game", "udp 5000-5010 to 192.168.1.20 (off)");
    assert_eq!(browser.daemon.state().changes[2], (Some(2), vec![off]));
    browser.send(browser.form_to("/security/forwards/remove")).await;
    assert_eq!(browser.daemon.state().changes[3], (Some(3), vec![set("forwards.Game", "unset")]));
    assert!(browser.body.contains("No port is forwarded."));
}

#[tokio::test]
async fn what_is_wrong_stands_beside_its_field_and_what_was_typed_is_kept() {
    let mut browser = Browser::logged_in().await;
    browser.open(HERE).await;
    let mut refused = refusal(RefusalKind::Invalid, "no");
    refused.fields =
        vec![postern::settings::FieldError::new("forwards.b.port", "a and b both take TCP port 80.")];
    browser.daemon.state().refuse = Some(refused);
    let form =
        browser.form("what").set("name", "b").set("what", "tcp").set("port", "80").set("to", "192.168.1.9");
    browser.send(form).await;
    assert_eq!(browser.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(browser.body.contains("id=\"port-error\">a and b both take TCP port 80."), "{}", browser.body);
    let body = browser.form("what").body();
    assert!(
        body.contains("name=b") && body.contains("to=192.168.1.9") && body.contains("what=tcp"),
        "{body}"
    );
}

#[tokio::test]
async fn a_new_forward_does_not_replace_one_and_a_conflict_shows_both_values() {
    let mut browser = Browser::logged_in().await;
    browser.open(HERE).await;
    let form = browser.form("what").set("name", "web").set("what", "sstp").set("to", "192.168.1.9");
    browser
        .daemon
        .state()
        .save("root", "command line", &[set("forwards.web", "tcp 80 to 192.168.1.8")])
        .unwrap();
    browser.send(form).await;
    assert_eq!(browser.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(browser.body.contains("There is a port forward of that name already"));
    browser.open("/security/forwards?edit=web").await;
    let form = browser.form("what").set("port", "81");
    browser
        .daemon
        .state()
        .save("root", "command line", &[set("forwards.web", "tcp 82 to 192.168.1.8")])
        .unwrap();
    browser.send(form).await;
    assert_eq!(browser.status, StatusCode::CONFLICT);
    assert!(browser.daemon.state().changes.is_empty());
    assert!(browser.body.contains("<th scope=\"row\">Port forward web</th>"), "{}", browser.body);
    assert!(browser.body.contains("tcp 82 to 192.168.1.8") && browser.body.contains("tcp 81 to 192.168.1.8"));
}

#[tokio::test]
async fn what_a_forward_means_for_passthrough_stands_beside_it() {
    let mut browser = Browser::logged_in().await;
    for (n, words) in ["pptp", "l2tp", "udp 500", "udp 4500", "udp 1701", "tcp 1723"].iter().enumerate() {
        let one = [set(&format!("forwards.f{n}"), &format!("{words} to 192.168.1.20 (off)"))];
        browser.daemon.state().save("root", "command line", &one).unwrap();
    }
    browser.open(HERE).await;
    assert!(!browser.body.contains("class=\"warn\""), "off, they take nothing");
    for n in 0..6 {
        let settings = browser.daemon.state().settings.clone();
        let key = format!("forwards.f{n}");
        let words = settings.forward_in_words(&format!("f{n}"));
        let on = set(&key, words.trim_end_matches(" (off)"));
        browser.daemon.state().save("root", "command line", &[on]).unwrap();
        browser.open(HERE).await;
        let settings = browser.daemon.state().settings.clone();
        let notes = settings.forwards[n].notes(&settings);
        assert!(!notes.is_empty(), "{words}");
        let mine = browser.body.split(&format!("data-forward=\"f{n}\"")).nth(1).unwrap();
        let mine = mine.split("</li>").next().unwrap().replace("&#39;", "'");
        for note in notes {
            assert!(mine.contains(note), "{words}: {note}\n{mine}");
        }
        let off = set(&key, &words);
        browser.daemon.state().save("root", "command line", &[off]).unwrap();
    }
}
