//! Links between processes over mutual TLS, each with a certificate of its own, and with the token besides.

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::{Cluster, exchange, stop};

#[tokio::test]
#[ignore = "needs Kafka, Redis and PostgreSQL: scripts/test services"]
async fn links_over_mutual_tls_carry_messages() {
    let cluster = Cluster::new(true).await;
    let authority = Authority::new(&cluster);
    let pipeline = cluster.pipeline_with("pipeline", &authority.certified("pipeline")).await;
    let one = cluster.gateway_with("gateway", "one", &authority.certified("one")).await;
    let two = cluster.gateway_with("gateway", "two", &authority.certified("two")).await;
    pipeline.shows("tidegate_kafka_partitions_held 4").await;
    let mut alice = cluster.connect(&one, "alice", "phone").await;
    let mut bob = cluster.connect(&two, "bob", "phone").await;
    exchange(&mut alice, &mut bob).await;
    // Without the links they would have come, too: by a check of the heads.
    pipeline.shows("tidegate_links_open 2").await;
    stop([one, two, pipeline]).await;
}

/// Signs the processes' certificates; all files are in the cluster's folder.
struct Authority<'a> {
    cluster: &'a Cluster,
    issuer: Issuer<'static, KeyPair>,
}

impl<'a> Authority<'a> {
    fn new(cluster: &'a Cluster) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        fs::write(cluster.folder.path().join("authority.pem"), pem).unwrap();
        Self { cluster, issuer: Issuer::new(params, key) }
    }

    /// The settings of a process with a new certificate.
    fn certified(&self, name: &str) -> [String; 4] {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let chain = params.signed_by(&key, &self.issuer).unwrap().pem();
        let folder = self.cluster.folder.path();
        fs::write(folder.join(format!("{name}-cert.pem")), chain).unwrap();
        fs::write(folder.join(format!("{name}-key.pem")), key.serialize_pem()).unwrap();
        [
            format!("rpc.cert_file={name}-cert.pem"),
            format!("rpc.key_file={name}-key.pem"),
            "rpc.ca_file=authority.pem".to_owned(),
            "rpc.client_ca_file=authority.pem".to_owned(),
        ]
    }
}
