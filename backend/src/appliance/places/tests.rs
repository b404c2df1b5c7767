use super::super::tests::{Home, flow};
use crate::kernel::{Element, Flow};

const SET: &str = "l2tp_sessions_2";

fn of(last: u8) -> Flow {
    Flow { client: [192, 168, 1, last].into(), ..flow(17, 1701, None) }
}

fn place(last: u8) -> Element {
    Element { key: vec![192, 168, 1, last, 203, 0, 113, 10], ..Element::default() }
}

#[tokio::test]
async fn what_runs_takes_its_places_when_a_limit_is_set_and_gives_them_back_when_they_are_missed() {
    let home = Home::router().await;
    let gone = Flow { tcp_state: Some(7), ..flow(6, 1723, None) };
    home.fake.set_flows(vec![of(2), of(2), of(3), gone]);
    home.set(&[("passthrough.session_limit.l2tp", "2"), ("passthrough.session_limit.pptp", "1")])
        .await
        .unwrap();
    assert_eq!(home.fake.elements_of(SET), [place(2), place(3)], "one for each pair");
    assert_eq!(home.fake.elements_of("pptp_sessions_1"), [], "a closed connection is no session");
    let settings = home.appliance.settings().1;
    home.fake.set_flows(vec![of(3)]);
    home.appliance.free_places(&settings).await.unwrap();
    assert_eq!(home.fake.elements_of(SET), [place(3)]);
    // There is a place: nobody is looked for.
    home.fake.set_flows(vec![]);
    home.appliance.free_places(&settings).await.unwrap();
    assert_eq!(home.fake.elements_of(SET), [place(3)]);
}
