internal import LinuxSys
internal import MachineManager
internal import Virtio

/// Network back ends whose peers come and go. The event loop's thread.
extension MicroVM {
    /// The descriptors are the back end's from here on, also when it throws.
    func openStream(_ id: String, _ stream: VmConfig.Netdev.Stream, _ descriptors: [Int32]) throws(MachineError) -> NetBackend {
        let options = StreamOptions(
            netdev: id, address: StreamAddress(stream.address, descriptors.first), isServer: stream.isServer, reconnect: stream.reconnect)
        let backend = try lift(MachineError.network) { () throws(NetError) in
            try NetBackend.openStream(options, loop: loop) { [weak self] isConnected in self?.streamChanged(id, isConnected) }
        }
        if backend.hasCarrier { emit(.streamConnected(id: id, stream.address)) }
        return backend
    }

    private func streamChanged(_ id: String, _ isConnected: Bool) {
        guard let node = netdevs.first(where: { $0.netdev.id == id }), case .stream(let stream) = node.netdev.backend else { return }
        if let device = node.device, let transport = networkTransport(device) { change(transport, VirtioNet.self) { $0.carrierChanged() } }
        emit(isConnected ? .streamConnected(id: id, stream.address) : .streamDisconnected(id: id))
    }
}

extension StreamAddress {
    init(_ address: VmConfig.Netdev.Stream.Address, _ descriptor: Int32?) {
        switch address {
        case .unix(let path): self = .unix(path: path)
        case .inet(let host, let port): self = .inet(host: host, port: port)
        case .descriptor: self = .descriptor(descriptor ?? -1)
        }
    }
}

extension VmConfig.Netdev {
    /// In the order of QMP's netdev_add.
    var descriptors: [VmConfig.Descriptor] {
        switch backend {
        case .tap(let tap): tap.descriptors
        case .stream(let stream): if case .descriptor(let descriptor) = stream.address { [descriptor] } else { [] }
        case .vhostUser: []
        }
    }

    var vhostDescriptors: [VmConfig.Descriptor] { if case .tap(let tap) = backend { tap.vhostDescriptors } else { [] } }
}
