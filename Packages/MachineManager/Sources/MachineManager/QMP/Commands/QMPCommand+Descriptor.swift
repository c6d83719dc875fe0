internal import LinuxSys

extension QMPCommand {
    /// Descriptors that a client sends over the unix socket (unix(7), SCM_RIGHTS).
    static var descriptor: [QMPCommand] {
        [QMPCommand("getfd", [.required("fdname", .id)], run: store), QMPCommand("closefd", [.required("fdname", .id)], run: close)]
    }

    private static func store(_ arguments: QMPArguments, _ context: QMPContext) throws(QMPError) -> QMPAnswer {
        let name = arguments.requiredText("fdname")
        // Taken also where the name is wrong: it must not become the next getfd's.
        guard let descriptor = context.client.takeDescriptor() else {
            throw QMPError("getfd: no descriptor came with the command; it is sent over a unix socket, as SCM_RIGHTS")
        }
        // A number means an inherited descriptor where names are used, and a colon parts names.
        guard let first = name.utf8.first, !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first), !name.utf8.contains(UInt8(ascii: ":")) else {
            throw QMPError("getfd: argument 'fdname' must be a name without colons that does not begin with a digit, not \(quoted(name))")
        }
        guard context.descriptors.store(descriptor, as: name) else {
            throw QMPError("getfd: \(QMPDescriptors.limit) descriptors are stored already; use or close one first")
        }
        return .done
    }

    private static func close(_ arguments: QMPArguments, _ context: QMPContext) throws(QMPError) -> QMPAnswer {
        let name = arguments.requiredText("fdname")
        guard context.descriptors.take(name) != nil else { throw QMPError("closefd: no descriptor is named \(quoted(name))") }
        return .done
    }
}
