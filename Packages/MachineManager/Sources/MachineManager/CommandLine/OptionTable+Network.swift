extension OptionTable {
    static var network: [OptionSpec] {
        let variants = [
            OptionVariant("tap", "tap of the host; needs one of ifname, fd, fds and path", tap),
            OptionVariant("stream", "stream socket to another process, such as passt; needs no privileges", stream),
            OptionVariant("vhost-user", "another program moves the packets; needs -machine mem-share=on", vhostUser),
        ]
        return [option(.netdev, "netdev", .many, .variants(what: "type", variants), "what a network device is connected to")]
    }

    /// QMP's netdev_add keeps the same rules.
    static var tap: [ParameterSpec] {
        [
            ParameterSpec("id", .text(OptionLimit.text), required: true),
            ParameterSpec("ifname", .interface, "name of the tap; wins over fd and fds"),
            ParameterSpec("fd", .descriptor, "open descriptor of the tap"),
            ParameterSpec("fds", .descriptors, "open descriptors, one for each queue pair"),
            ParameterSpec("path", .path(OptionLimit.path), "character device of the tap; default /dev/net/tun"),
            ParameterSpec("queues", .integer(1...UInt64(VmConfig.maximumQueuePairs)), "queue pairs; default 1, or as many as fds"),
            ParameterSpec("vhost", .onOff, "the host's kernel moves the packets; default off"),
            ParameterSpec("vhostfd", .descriptor, "open descriptor of /dev/vhost-net; needs vhost=on"),
            ParameterSpec("vhostfds", .descriptors, "open descriptors, one for each queue pair; needs vhost=on"),
            ParameterSpec("macnat", .onlyOff),
        ]
    }

    private static var vhostUser: [ParameterSpec] {
        [
            ParameterSpec("id", .text(OptionLimit.text), required: true),
            ParameterSpec("chardev", .text(OptionLimit.text), required: true, "id of a -chardev socket with path=, where the program listens"),
            ParameterSpec("queues", .integer(1...UInt64(VmConfig.maximumQueuePairs)), "queue pairs; default 1"),
        ]
    }

    /// QMP's netdev_add keeps the same rules.
    static var stream: [ParameterSpec] {
        [
            ParameterSpec("id", .text(OptionLimit.text), required: true),
            ParameterSpec("addr.type", .choice(["unix", "inet", "fd"], later: []), required: true, "kind of address"),
            ParameterSpec("addr.path", .path(OptionLimit.socketPath), "Unix socket"),
            ParameterSpec("addr.host", .text(OptionLimit.text), "numeric address of a TCP socket"),
            ParameterSpec("addr.port", .integer(1...65535), "port of a TCP socket"),
            ParameterSpec("addr.str", .descriptor, "open descriptor of a stream socket"),
            ParameterSpec("server", .onOff, "listen; default off: connect"),
            ParameterSpec("reconnect", .integer(0...UInt64(VmConfig.maximumReconnectSeconds)), "seconds between attempts to find the peer; default 0: none"),
            ParameterSpec("reconnect-ms", .integer(0...UInt64(VmConfig.maximumReconnectSeconds * 1000)), "the same in milliseconds"),
        ]
    }
}
