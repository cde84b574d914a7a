//! Servers that will not do.

use super::*;

#[tokio::test]
#[ignore = "needs PostgreSQL: scripts/services run postgres -- cargo test -p tidegate-pipeline postgres -- --ignored"]
async fn relaxed_commits_are_refused() {
    let database = database();
    database.open_postgres().await.close().await.unwrap();
    let name = database.name();
    let mut client = database.client().await;
    for value in ["off", "local", "on"] {
        client.execute(format!("ALTER DATABASE {name} SET synchronous_commit = {value}")).await.unwrap();
        match database.try_open().await {
            Ok(_) => assert_ne!(value, "off"),
            Err(error) => {
                assert_eq!(value, "off");
                assert!(
                    matches!(error, OpenError::Setting { setting: "synchronous_commit", .. }),
                    "{error:?}"
                );
                assert!(error.to_string().ends_with("set synchronous_commit = on"), "{error}");
            }
        }
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: scripts/services run postgres -- cargo test -p tidegate-pipeline postgres -- --ignored"]
async fn a_database_that_is_not_there() {
    let database = database();
    let error = Store::open(&Config::new(format!("{}_not", database.url()))).await.unwrap_err();
    assert!(matches!(error, OpenError::Database { .. }), "{error:?}");
    assert!(
        error.to_string().starts_with(&format!("cannot use the database {}_not on", database.name())),
        "{error}"
    );
}

#[tokio::test]
#[ignore = "needs PostgreSQL: scripts/services run postgres -- cargo test -p tidegate-pipeline postgres -- --ignored"]
async fn a_look_says_that_no_tables_may_be_made() {
    let database = database();
    database.tamper(format!("ALTER DATABASE {} SET search_path = nowhere", database.name())).await;
    let error = look(&Config::new(database.url())).await.unwrap_err();
    assert!(matches!(error, OpenError::MayNotCreate { .. }), "{error:?}");
}

#[tokio::test]
async fn an_address_where_nobody_is() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = Store::open(&Config::new(format!("postgres://user:secret@{nobody}/x"))).await.unwrap_err();
    assert!(matches!(error, OpenError::Database { .. }), "{error:?}");
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    for (url, text) in [("postgres://", "names no database"), ("nonsense", "not of the form postgres://")] {
        let error = Store::open(&Config::new(url)).await.unwrap_err();
        assert!(error.to_string().contains(text), "{url}: {error}");
    }
}
