//! Servers that will not do. What is refused of their settings has its test beside them, in `open`: they are global here.

use super::*;

#[tokio::test]
#[ignore = "needs MariaDB: scripts/services run mariadb -- cargo test -p tidegate-pipeline mysql -- --ignored"]
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
async fn an_address_where_nobody_is() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = Store::open(&Config::new(format!("mysql://user:secret@{nobody}/x"))).await.unwrap_err();
    assert!(matches!(error, OpenError::Database { .. }), "{error:?}");
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    for (url, text) in [("mysql://127.0.0.1", "names no database"), ("nonsense", "not of the form mysql://")]
    {
        let error = Store::open(&Config::new(url)).await.unwrap_err();
        assert!(error.to_string().contains(text), "{url}: {error}");
    }
}

/// The draw of a batch is the last id of two statements sent together.
#[tokio::test]
#[ignore = "needs MariaDB: scripts/services run mariadb -- cargo test -p tidegate-pipeline mysql -- --ignored"]
async fn draws_leave_no_rows() {
    let database = database();
    let any = database.open().await;
    for n in 0..3 {
        append(&any, &[text("a", "b", &n.to_string())]).await;
    }
    let store = database.open_mysql().await;
    let mut lent = store.pool.lend().await.unwrap();
    let ids: Vec<i64> =
        sqlx::query_scalar("SELECT id FROM names ORDER BY id").fetch_all(&mut *lent).await.unwrap();
    assert_eq!(ids, [1 << 16, 2 << 16, 3 << 16]);
    let draws: i64 = sqlx::query_scalar("SELECT count(*) FROM draws").fetch_one(&mut *lent).await.unwrap();
    assert_eq!(draws, 0);
}
