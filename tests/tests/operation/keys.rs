//! Keys of namespaces: added, listed, changed, beside a running hub and without one.

use evoke_tests::e2e::{caller::Ask, place::Place};

use super::{Done, ends};

#[tokio::test]
async fn a_key_that_is_changed_opens_nothing_from_then_on() -> Done {
    let mut place = Place::new()?;
    let (hub, guest) = place.start().await?;
    let former = ends(&place, 0, &["key", "add", "shop", "--data", "DATA"]).await?;
    let mine = place.caller_with(&former);
    mine.get("actions").await?;
    assert_eq!(ends(&place, 0, &["key", "list", "--data", "DATA"]).await?, "guest\nshop\n");

    let next = ends(&place, 0, &["key", "rotate", "shop", "--data", "DATA"]).await?;
    assert_ne!(next, former);
    assert_eq!(mine.send(Ask::new("GET", "actions")).await?.status, 401);
    place.caller_with(&next).get("actions").await?;

    ends(&place, 0, &["key", "rotate", "guest", "--data", "DATA"]).await?;
    assert_eq!(guest.send(Ask::new("GET", "actions")).await?.status, 401);
    place.caller()?.get("actions").await?;
    let none = ends(&place, 1, &["key", "rotate", "none", "--data", "DATA"]).await?;
    assert!(none.contains("namespace `none` does not exist"), "{none}");

    hub.stop().await?;
    let last = ends(&place, 0, &["key", "rotate", "shop", "--data", "DATA"]).await?;
    assert_eq!(ends(&place, 0, &["key", "list", "--data", "DATA"]).await?, "guest\nshop\n");
    let (hub, _) = place.start().await?;
    assert_eq!(place.caller_with(&next).send(Ask::new("GET", "actions")).await?.status, 401);
    place.caller_with(&last).get("actions").await?;
    hub.stop().await?;
    place.done();
    Ok(())
}
