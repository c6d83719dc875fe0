extension OptionTable {
    /// What devices use and the guest does not see.
    static var objects: [OptionSpec] {
        let id = ParameterSpec("id", .text(OptionLimit.text), required: true)
        let variants = [
            OptionVariant(
                "iothread", "thread that serves devices; at most \(VmConfig.maximumIOThreads)",
                [
                    id,
                    ParameterSpec(
                        "poll-max-ns", .integer(0...VmConfig.maximumPolling),
                        "nanoseconds that it looks for work before it sleeps, at most; default \(VmConfig.usualPolling), as with QEMU; 0: it does not look"),
                ]),
            OptionVariant(
                "rng-random", "source of entropy for virtio-rng-device",
                [id, ParameterSpec("filename", .path(OptionLimit.path), required: true, "character device such as /dev/urandom")]),
        ] + memoryBackends + [OptionVariant(unsupported: "tls-creds-x509"), OptionVariant(unsupported: "authz-simple")]
        return [
            option(.object, "object", .many, .variants(what: "kind of object", variants), "what devices use"),
            option(
                .global, "global", .many, .none,
                [ParameterSpec("pcie-root-port.fast-unplug", .integer(0...1), "no effect: a microvm has no PCI")],
                "property of every device of a kind"),
        ]
    }
}
