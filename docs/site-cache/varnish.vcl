vcl 4.1;
# A cache of released files for all nodes of a site, in Varnish.  Put it into /etc/varnish/vbofs.vcl, look at
# the lines that say SITE, and run varnishd with
#     -a :8080 -f /etc/varnish/vbofs.vcl -s file,/var/cache/varnish/vbofs,400G -p thread_pool_max=2000
# Nodes then mount with: vbofs mount --site-cache http://THIS-HOST:8080
#
# Varnish keeps a range as it was asked for: two nodes share what they ask for alike.  nginx's slices share
# more; see docs/proxy.md.  It speaks no TLS to S3: put stunnel or haproxy between, as 127.0.0.1:8081 here.

backend s3 {
    .host = "127.0.0.1";                  # SITE: stunnel or haproxy, which speaks TLS to S3
    .port = "8081";
    .connect_timeout = 3s;
    .first_byte_timeout = 10s;
    .between_bytes_timeout = 10s;
}

acl nodes {
    "10.0.0.0"/8;                         # SITE: your nodes, nobody else
    "127.0.0.1";
}

sub vcl_recv {
    if (client.ip !~ nodes || req.method != "GET") {
        return (synth(403));
    }
    # Object versions of these buckets, and nothing else: this is no open proxy.
    if (req.url !~ "^/visual-behavior-(ophys|neuropixels)-data/[^?]+\?versionId=[A-Za-z0-9._]+$"
        || req.http.Range !~ "^bytes=[0-9]+-[0-9]+$") {
        return (synth(403));
    }
    # Out of Varnish's sight: it is to keep the range and not to cut one from a whole file.
    set req.http.X-Range = req.http.Range;
    unset req.http.Range;
    unset req.http.Cookie;
    unset req.http.Authorization;
    return (hash);
}

sub vcl_hash {
    hash_data(req.url);
    hash_data(req.http.X-Range);
    return (lookup);
}

sub vcl_backend_fetch {
    set bereq.http.Host = "s3.us-west-2.amazonaws.com";
    set bereq.http.Range = bereq.http.X-Range;
    unset bereq.http.X-Range;
}

sub vcl_backend_response {
    # Exactly what S3 gave for a range of a version is kept, for ever; no error, nothing else.
    if (beresp.status == 206) {
        set beresp.ttl = 3650d;
        set beresp.grace = 0s;
        set beresp.keep = 0s;
        # Varnish takes a range that it has not cut itself for a mistake.
        set beresp.http.X-Content-Range = beresp.http.Content-Range;
        unset beresp.http.Content-Range;
    } else {
        set beresp.ttl = 0s;
        set beresp.uncacheable = true;
    }
    return (deliver);
}

sub vcl_deliver {
    if (resp.http.X-Content-Range) {
        set resp.http.Content-Range = resp.http.X-Content-Range;
        unset resp.http.X-Content-Range;
    }
}
