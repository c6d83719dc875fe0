internal import LinuxSys
internal import Synchronization

/// Descriptors that clients sent and named with `getfd`, until a command uses them or `closefd` closes them. They outlive the connection, as in QEMU:
/// a client may reconnect in between. All monitors share them. Any thread.
final class QMPDescriptors: Sendable {
    /// Enough for two network devices of 16 queue pairs with vhost; a client must not use up the process's descriptors.
    static let limit = 64

    private struct Entry: Sendable {
        let name: String
        let descriptor: Int32
    }

    private let entries = Mutex<[Entry]>([])

    deinit {
        for entry in entries.withLock({ $0 }) { _ = OwnedFD(adopting: entry.descriptor) }
    }

    /// Keeps `descriptor` under `name`; an older one of that name is closed. False when there is no room, and the descriptor is closed.
    func store(_ descriptor: consuming OwnedFD, as name: String) -> Bool {
        let new = Entry(name: name, descriptor: descriptor.take())
        let (surplus, isStored): (Int32?, Bool) = entries.withLock { entries in
            if let index = entries.firstIndex(where: { $0.name == name }) {
                let old = entries[index]
                entries[index] = new
                return (old.descriptor, true)
            }
            guard entries.count < Self.limit else { return (new.descriptor, false) }
            entries.append(new)
            return (nil, true)
        }
        if let surplus { _ = OwnedFD(adopting: surplus) }
        return isStored
    }

    /// Takes the descriptor out of the store.
    func take(_ name: String) -> OwnedFD? {
        let descriptor: Int32? = entries.withLock { entries in
            guard let index = entries.firstIndex(where: { $0.name == name }) else { return nil }
            return entries.remove(at: index).descriptor
        }
        guard let descriptor else { return nil }
        return OwnedFD(adopting: descriptor)
    }

    func contains(_ name: String) -> Bool { entries.withLock { $0.contains { $0.name == name } } }
}

extension QMPDescriptors {
    /// Turns what `fd=`, `fds=` and `vhostfds=` name into open descriptors that the caller owns. All or none: where one is missing nothing is taken from
    /// the store.
    func resolve(_ wanted: [VmConfig.Descriptor], for command: String) throws(QMPError) -> [Int32] {
        for case .name(let name) in wanted where !contains(name) {
            throw QMPError("\(command): no descriptor is named \(quoted(name))")
        }
        var found = DescriptorList()
        for descriptor in wanted {
            switch descriptor {
            case .number(let number):
                do throws(InheritedDescriptorError) { found.append(try InheritedDescriptors.take(number)) } catch {
                    throw QMPError("\(command): \(error)")
                }
            case .name(let name):
                guard let descriptor = take(name) else { throw QMPError("\(command): descriptor \(quoted(name)) is used twice") }
                found.append(descriptor)
            }
        }
        return found.takeNumbers()
    }
}
