/// The version that `-version` and QMP tell.
public enum ProductVersion {
    public static let text = "0.1.0"
}
