/// What a file that the user named is for.
public enum BootFileKind: Equatable, Sendable {
    case kernel
    case initrd
}
