use super::super::tests::{Home, flow};
use crate::kernel::{Element, Flow, Neighbour};

fn neighbour(last: u8) -> Neighbour {
    Neighbour { address: [192, 168, 1, last].into(), mac: [2, 0, 0, 0, 1, last], device: 2, seen_seconds: 1 }
}

fn of(last: u8, port: u16) -> Flow {
    Flow { client: [192, 168, 1, last].into(), ..flow(17, port, None) }
}

#[tokio::test]
async fn only_the_flows_of_devices_that_may_not_any_more_end() {
    let home = Home::router().await;
    home.fake.set_neighbours(vec![neighbour(2), neighbour(3)]);
    let zone = |last: u8| Element { key: vec![last, 1], data: vec![192, 168, 1, last], ..Element::default() };
    home.fake.set_elements("zone_host", vec![zone(2), zone(3), zone(4)]);
    // The third has no neighbour: nobody knows whose it is. The last is no passthrough.
    home.fake.set_flows(vec![of(2, 4500), of(3, 4500), of(4, 4500), of(3, 7000)]);
    home.fake.forget_calls();
    home.set(&[("passthrough.devices", "02:00:00:00:01:02")]).await.unwrap();
    assert!(home.fake.calls().contains(&"end 2".to_owned()), "{:?}", home.fake.calls());
    assert_eq!(home.fake.elements_of("zone_host"), [zone(2)]);
    // Whoever is added ends nobody.
    home.fake.forget_calls();
    home.set(&[("passthrough.devices", "02:00:00:00:01:02,02:00:00:00:01:03")]).await.unwrap();
    assert!(!home.fake.calls().iter().any(|call| call.starts_with("end")), "{:?}", home.fake.calls());
}
