use axum::http::StatusCode;
use postern::door::messages::{Defeat, RefusalKind, Uci};
use postern::settings::Role;

use super::HERE;
use crate::testing::browser::Browser;
use crate::testing::fake::beside::defeated;
use crate::testing::fake::{State, beside, refusal};

/// Beside fw4, whose configuration is known.
fn openwrt(state: &mut State) {
    state.role = Role::Unset;
    state.beside = beside::openwrt();
}

fn patch(browser: &Browser) -> Vec<String> {
    let changes = browser.daemon.state().changes.clone();
    changes.last().unwrap().1.iter().map(|a| format!("{}={}", a.key, a.value)).collect()
}

#[tokio::test]
async fn beside_another_firewall_the_companion_is_recommended_its_sides_are_proposed_and_a_click_takes_them()
{
    let mut browser = Browser::logged_in().await;
    openwrt(&mut browser.daemon.state());
    browser.open("/").await;
    assert!(browser.body.contains("href=\"/network/role\""));
    browser.open(HERE).await;
    let body = &browser.body;
    assert!(body.contains("stands on this box (table inet fw4)"), "{body}");
    let companion = body.split("id=\"role-companion\"").nth(1).unwrap().split("</p>").next().unwrap();
    assert!(companion.contains("Recommended here"), "{companion}");
    assert!(body.contains("and not taken yet") && body.contains("eth2 leads to the internet too"), "{body}");
    assert!(
        body.contains("Read from network: interface") && body.contains("&#60;i&#62;wan"),
        "text only: {body}"
    );
    let form = browser.form("internet.device");
    let field = |name: &str| form.fields.iter().find(|(n, _)| n == name).and_then(|(_, value)| value.clone());
    assert_eq!(field("internet.device").as_deref(), Some("eth1"));
    assert_eq!(field("role"), None, "nothing is chosen for the owner");
    browser.send(form.clone()).await;
    assert_eq!(browser.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(browser.body.contains("Choose what this box is.") && browser.daemon.state().changes.is_empty());
    let mut form = form;
    form.fields.push(("role".into(), Some("companion".into())));
    browser.send(form.set("local_network.address", " 192.168.8.1/24 ")).await;
    assert_eq!((browser.status, browser.path.as_str()), (StatusCode::OK, HERE));
    assert_eq!(
        patch(&browser),
        [
            "role=companion",
            "internet.device=eth1",
            "local_network.devices=br-lan",
            "local_network.address=192.168.8.1/24"
        ]
    );
}

#[tokio::test]
async fn without_another_firewall_the_router_is_recommended_and_nothing_is_proposed() {
    let mut browser = Browser::logged_in().await;
    browser.daemon.state().role = Role::Unset;
    browser.open(HERE).await;
    let router = browser.body.split("id=\"role-router\"").nth(1).unwrap().split("</p>").next().unwrap();
    assert!(router.contains("Recommended here") && browser.body.contains("href=\"/network/ports\""));
    assert!(
        browser.body.contains("tells the two sides for sure") && !browser.body.contains("id=\"openwrt\"")
    );
    browser.daemon.state().beside.uci = Uci::Unreadable { path: "/etc/config/<b>".into() };
    browser.open(HERE).await;
    assert!(browser.body.contains("may not read /etc/config/&#60;b&#62;"), "{}", browser.body);
}

#[tokio::test]
async fn the_role_is_changed_later_and_what_is_refused_stands_beside_its_field() {
    let mut browser = Browser::logged_in().await;
    openwrt(&mut browser.daemon.state());
    for (key, value) in
        [("role", "companion"), ("internet.device", "wan0"), ("local_network.devices", "lan0")]
    {
        browser.daemon.state().save_with_comment("root", "", "", key, value);
    }
    browser.daemon.state().role = Role::Companion;
    browser.open(HERE).await;
    let form = browser.form("internet.device");
    assert!(form.fields.contains(&("role".into(), Some("companion".into()))), "what is so now: {form:?}");
    assert!(
        form.fields.contains(&("internet.device".into(), Some("wan0".into()))),
        "what is set, not a proposal"
    );
    assert!(browser.body.contains("OpenWrt&#39;s configuration (UCI) says eth1"), "{}", browser.body);
    let refused = postern::door::messages::Refusal {
        fields: vec![postern::settings::FieldError::new("internet.device", "wan9 is not there.")],
        ..refusal(RefusalKind::Invalid, "A value is wrong.")
    };
    browser.daemon.state().refuse = Some(refused);
    browser.send(form.clone().set("role", "router").set("internet.device", "wan9")).await;
    assert_eq!(browser.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(browser.body.contains("value=\"wan9\"") && browser.body.contains("internet-device-error"));
    browser.send(form.set("role", "router")).await;
    assert_eq!(patch(&browser), ["role=router"]);
}

#[tokio::test]
async fn in_companion_pages_of_the_other_firewall_say_so_and_their_settings_stand_folded() {
    let mut browser = Browser::logged_in().await;
    let pages = [
        "/network/internet",
        "/network/local",
        "/network/ports",
        "/security/firewall",
        "/security/forwards",
        "/security/helpers",
    ];
    for (role, said) in [(Role::Companion, true), (Role::Router, false)] {
        browser.daemon.state().role = role;
        for page in pages {
            browser.open(page).await;
            let folded = browser.body.find("<details class=\"later\">");
            assert_eq!(browser.body.contains("data-theirs"), said, "{role:?} {page}");
            assert_eq!(folded.is_some(), said, "{role:?} {page}");
            let ports = page == "/network/ports";
            assert_eq!(browser.body.contains("Saving makes this box the router."), said && ports, "{page}");
            assert_eq!(browser.body.contains("it has no effect now"), said && !ports, "{page}");
            if let Some(folded) = folded {
                let form = browser.body.find(&format!("action=\"{page}\"")).unwrap();
                assert!(folded < form, "{page}: the form is in what is folded");
            }
        }
        browser.open("/network/devices").await;
        assert_eq!(browser.body.contains("Names count here"), said);
        assert!(!browser.body.contains("data-theirs"));
    }
    // What was refused must be seen.
    browser.daemon.state().role = Role::Companion;
    browser.open("/security/forwards").await;
    browser.send(browser.form("what").set("name", "x").set("to", "nobody")).await;
    assert_eq!(browser.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(browser.body.contains("<details class=\"later\" open>"), "{}", browser.body);
}

#[tokio::test]
async fn strict_over_ipv6_is_kept_though_it_is_not_shown_in_companion() {
    let mut browser = Browser::logged_in().await;
    browser.daemon.state().save_with_comment("root", "", "", "firewall.ipv6_ipsec", "strict");
    browser.daemon.state().role = Role::Companion;
    browser.open("/security/vpn-passthrough").await;
    assert!(!browser.body.contains("Strict over IPv6"));
    browser.send(browser.form("base_revision").set("passthrough.pptp.enabled", "true")).await;
    assert_eq!(patch(&browser), ["passthrough.pptp.enabled=true"]);
}

#[tokio::test]
async fn a_rule_of_theirs_is_named_with_what_to_add_below_its_protocol_and_on_the_overview() {
    let mut browser = Browser::logged_in().await;
    browser.daemon.state().role = Role::Companion;
    browser.daemon.state().defeats = vec![
        defeated(1, Defeat::LostOut, 9),
        defeated(2, Defeat::LostOut, 3),
        defeated(3, Defeat::LostIn, 5),
    ];
    browser.open("/security/vpn-passthrough").await;
    let body = &browser.body;
    assert_eq!(body.matches("data-defeat=\"l2tp\"").count(), 2, "one rule is told once: {body}");
    assert!(
        body.contains("203.0.113.2 is dropped") && !body.contains("203.0.113.1 is dropped"),
        "the newest"
    );
    assert!(body.contains("inet &#60;fw4&#62;") && body.contains("nft insert rule inet fw4 forward"));
    browser.open("/").await;
    assert!(browser.body.contains("/security/vpn-passthrough#l2tp"), "{}", browser.body);
}

#[tokio::test]
async fn where_the_page_is_instead_of_its_port_is_said_where_the_port_is_set() {
    let mut browser = Browser::logged_in().await;
    browser.open("/system/access").await;
    assert!(!browser.body.contains("data-elsewhere"));
    browser.daemon.state().page_elsewhere = vec![
        "Port 80 of 192.168.1.1 is another program\u{2019}s: the admin page is at http://192.168.1.1:8080/."
            .into(),
    ];
    browser.open("/system/access").await;
    assert!(browser.body.contains("the admin page is at http://192.168.1.1:8080/"), "{}", browser.body);
}
