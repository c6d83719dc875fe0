extension VmConfig.Netdev {
    /// The parameters of `-netdev`.
    init(_ list: ParameterList) throws(CommandLineError) {
        switch list.variant {
        case "stream": try self.init(stream: list)
        case "vhost-user":
            self.init(
                id: list.text("id") ?? "", queues: list.number("queues").map { Int(clamping: $0) } ?? 1,
                backend: .vhostUser(chardev: list.text("chardev") ?? ""))
        default: try self.init(tap: list)
        }
    }

    private init(tap list: ParameterList) throws(CommandLineError) {
        var tap = Tap()
        tap.interface = list.text("ifname")
        tap.path = list.text("path")
        let descriptors = try Self.descriptors("fd", "fds", list)
        // As in StratoVirt, a name wins over descriptors.
        if tap.interface == nil { tap.descriptors = descriptors }
        tap.vhost = list.bool("vhost", default: false)
        tap.vhostDescriptors = try Self.descriptors("vhostfd", "vhostfds", list)
        if let shown = Self.given(["fd", "fds"], list) {
            if tap.path != nil { throw list.excludes("path", shown) }
        } else if tap.interface == nil, tap.path == nil {
            throw list.invalid("\(list.label("ifname")), \(list.label("fd")), \(list.label("fds")) or \(list.label("path")) is missing")
        }
        if let shown = Self.given(["vhostfd", "vhostfds"], list), !tap.vhost {
            throw list.invalid("\(list.label(shown)) needs \(list.label("vhost", is: "on"))")
        }
        let pairs = list.number("queues").map { Int(clamping: $0) } ?? max(tap.descriptors.count, 1)
        guard tap.descriptors.isEmpty || tap.descriptors.count == pairs else {
            throw list.invalid("\(list.label("queues")) is \(pairs), but descriptors are given for \(tap.descriptors.count)")
        }
        guard tap.vhostDescriptors.isEmpty || tap.vhostDescriptors.count == pairs else {
            throw list.invalid("the number of vhost descriptors (\(tap.vhostDescriptors.count)) must be that of queue pairs (\(pairs))")
        }
        self.init(id: list.text("id") ?? "", queues: pairs, backend: .tap(tap))
    }

    private init(stream list: ParameterList) throws(CommandLineError) {
        var stream = Stream(address: try Stream.Address(list))
        stream.isServer = list.bool("server", default: false)
        switch (list.number("reconnect"), list.number("reconnect-ms")) {
        case (_?, _?): throw list.excludes("reconnect", "reconnect-ms")
        case (let seconds?, nil): stream.reconnect = UInt32(clamping: seconds * 1000)
        case (nil, let milliseconds): stream.reconnect = UInt32(clamping: milliseconds ?? 0)
        }
        if let shown = Self.given(["reconnect", "reconnect-ms"], list) {
            if stream.isServer { throw list.excludes(shown, "server") }
            if case .descriptor = stream.address, stream.reconnect > 0 {
                throw list.invalid("\(list.label(shown)) needs an address; a descriptor cannot be connected again")
            }
        }
        self.init(id: list.text("id") ?? "", backend: .stream(stream))
    }

    /// What netdev_add says: the same limits as on the command line; descriptors may be names.
    init(command: String, _ arguments: [QMPParameter]) throws(CommandLineError) {
        try self.init(tap: ParameterList(command: command, arguments, for: OptionTable.tap))
    }

    /// As above, for type stream.
    init(streamOf command: String, _ arguments: [QMPParameter]) throws(CommandLineError) {
        try self.init(stream: ParameterList(command: command, arguments, for: OptionTable.stream))
    }

    private static func given(_ keys: [String], _ list: ParameterList) -> String? {
        keys.first { list[$0] != nil }
    }

    /// One descriptor by the key `one`, or several by `many`.
    private static func descriptors(_ one: String, _ many: String, _ list: ParameterList) throws(CommandLineError) -> [VmConfig.Descriptor] {
        switch (list.text(one), list.text(many)) {
        case (_?, _?): throw list.excludes(one, many)
        case (let text?, nil): return [try list.descriptor(one, text[...])]
        case (nil, let text?):
            var found: [VmConfig.Descriptor] = []
            for part in text.split(separator: ":", omittingEmptySubsequences: false) {
                let descriptor = try list.descriptor(many, part)
                guard !found.contains(descriptor) else { throw list.invalid("\(list.label(many)) has \(quoted(String(part))) twice") }
                found.append(descriptor)
                guard found.count <= VmConfig.maximumQueuePairs else {
                    throw list.invalid("\(list.label(many)) has more than \(VmConfig.maximumQueuePairs) descriptors")
                }
            }
            return found
        case (nil, nil): return []
        }
    }
}

extension VmConfig.Netdev.Stream.Address {
    private static let parts = ["unix": ["addr.path"], "inet": ["addr.host", "addr.port"], "fd": ["addr.str"]]

    /// `addr.type=` and what goes with it.
    fileprivate init(_ list: ParameterList) throws(CommandLineError) {
        let type = list.text("addr.type") ?? ""
        let wanted = Self.parts[type] ?? []
        for key in wanted where list[key] == nil { throw list.invalid("\(list.label(key)) is missing") }
        for key in Self.parts.values.joined().sorted() where list[key] != nil && !wanted.contains(key) {
            throw list.invalid("\(list.label(key)) does not go with \(list.label("addr.type", is: type))")
        }
        switch type {
        case "unix": self = .unix(path: list.text("addr.path") ?? "")
        case "inet":
            let host = list.text("addr.host") ?? ""
            guard isIPv4Address(host) || isIPv6Address(host) else {
                throw list.invalid("\(list.label("addr.host")) must be a numeric IPv4 or IPv6 address, not \(quoted(host))")
            }
            self = .inet(host: host, port: UInt16(clamping: list.number("addr.port") ?? 0))
        default: self = .descriptor(try list.descriptor("addr.str", (list.text("addr.str") ?? "")[...]))
        }
    }
}

extension VmConfig.VirtioNet {
    /// The parameters of `-device virtio-net-device`, by whatever way they came.
    init(_ list: ParameterList) {
        self.init(id: list.text("id"), netdev: list.text("netdev") ?? "")
        mac = list.macAddress("mac")
        isMultiQueue = list.bool("mq", default: false)
        queueSize = list.number("queue-size").map { UInt16(clamping: $0) } ?? queueSize
        iothread = list.text("iothread")
        rxIOThread = list.text("rx-iothread")
        txIOThread = list.text("tx-iothread")
    }

    /// What device_add says: the same limits as on the command line.
    init(command: String, _ arguments: [QMPParameter]) throws(CommandLineError) {
        self.init(try ParameterList(command: command, arguments, for: OptionTable.virtioNet.parameters))
    }
}

extension VmConfig.VirtioBlock {
    /// The parameters of `-device virtio-blk-device`, by whatever way they came.
    init(_ list: ParameterList) {
        self.init(id: list.text("id"), drive: list.text("drive") ?? "")
        serial = list.text("serial")
        queueCount = list.number("num-queues").map { UInt16(clamping: $0) } ?? queueCount
        queueSize = list.number("queue-size").map { UInt16(clamping: $0) } ?? queueSize
        iothread = list.text("iothread")
    }

    /// What device_add says: the same limits as on the command line, and no effect on the queues, which a slot has from its start.
    init(command: String, _ arguments: [QMPParameter]) throws(CommandLineError) {
        self.init(try ParameterList(command: command, arguments, for: OptionTable.virtioBlock.parameters))
        let plain = Self(drive: drive)
        (queueCount, queueSize) = (plain.queueCount, plain.queueSize)
    }
}

extension ParameterList {
    /// Two parameters that both were given.
    func excludes(_ one: String, _ other: String) -> CommandLineError {
        invalid("\(label(one)) and \(label(other)) exclude each other")
    }

    /// A descriptor by its number, which is never that of a standard stream; in QMP also by the name under which it was sent.
    func descriptor(_ key: String, _ text: Substring) throws(CommandLineError) -> VmConfig.Descriptor {
        if let number = decimal(text.utf8) {
            if let number = Int32(exactly: number), number >= 3 { return .number(number) }
        } else if isCommand, !text.isEmpty, text.utf8.count <= OptionLimit.text {
            return .name(String(text))
        }
        let rule = isCommand ? "the number of an open descriptor, at least 3, or the name of one" : "the number of an open descriptor, at least 3"
        throw invalid("\(label(key)) must be \(rule), not \(quoted(String(text)))")
    }
}
